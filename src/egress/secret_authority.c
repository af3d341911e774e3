/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/secret_authority.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/cleanup.h"
#include "base/fds.h"

#define KEY_FILE_MAX 65536
#define ROOTS_MAX ((size_t)16 << 20)
#define VALID_SECONDS ((long)3650 * 86400)
#define CLOCK_SKEW_SECONDS ((long)86400)
#define SERIAL_BYTES 16

struct px_authority {
    EVP_PKEY *key;
    X509 *certificate;
    EVP_PKEY *host_key; /* of all certificates for hosts */
    SSL_CTX *client;
    struct px_buffer pem;
};

static void free_bio(BIO **bio)
{
    BIO_free(*bio);
}

static void free_certificate(X509 **certificate)
{
    X509_free(*certificate);
}

void px_authority_free(struct px_authority *authority)
{
    if (!authority)
        return;
    EVP_PKEY_free(authority->key);
    EVP_PKEY_free(authority->host_key);
    X509_free(authority->certificate);
    SSL_CTX_free(authority->client);
    px_buffer_done(&authority->pem);
    free(authority);
}

const char *px_authority_certificate(const struct px_authority *authority)
{
    return px_buffer_string(&authority->pem);
}

/* ---- Certificates ---- */

static bool add_extension(X509 *certificate, X509 *issuer, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    bool good = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return good;
}

static bool set_serial(X509 *certificate)
{
    unsigned char bytes[SERIAL_BYTES];
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return false;
    bytes[0] &= 0x7f;
    bytes[0] |= 0x40; /* positive, and of full length */
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool good = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
    return good;
}

static X509 *new_certificate(EVP_PKEY *key, const char *name)
{
    X509 *certificate = X509_new();
    bool good = certificate && X509_set_version(certificate, X509_VERSION_3) && set_serial(certificate) &&
                X509_gmtime_adj(X509_getm_notBefore(certificate), -CLOCK_SKEW_SECONDS) &&
                X509_gmtime_adj(X509_getm_notAfter(certificate), VALID_SECONDS) && X509_set_pubkey(certificate, key) &&
                X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                                           (const unsigned char *)name, -1, -1, 0);
    if (good)
        return certificate;
    X509_free(certificate);
    return NULL;
}

static bool make_authority(struct px_authority *authority)
{
    authority->key = EVP_EC_gen("P-256");
    X509 *own = authority->key ? new_certificate(authority->key, "pyexec proxy for secrets") : NULL;
    authority->certificate = own;
    return own && X509_set_issuer_name(own, X509_get_subject_name(own)) &&
           add_extension(own, own, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_extension(own, own, NID_key_usage, "critical,keyCertSign") &&
           add_extension(own, own, NID_subject_key_identifier, "hash") && X509_sign(own, authority->key, EVP_sha256());
}

static X509 *make_host(struct px_authority *authority, const char *host)
{
    px_auto(free_certificate) X509 *made = new_certificate(authority->host_key, "pyexec");
    px_auto_buffer struct px_buffer name = {0};
    px_buffer_printf(&name, "DNS:%s", host);
    if (!made || !px_buffer_ok(&name) || !X509_set_issuer_name(made, X509_get_subject_name(authority->certificate)) ||
        !add_extension(made, authority->certificate, NID_basic_constraints, "critical,CA:FALSE") ||
        !add_extension(made, authority->certificate, NID_key_usage, "critical,digitalSignature") ||
        !add_extension(made, authority->certificate, NID_ext_key_usage, "serverAuth") ||
        !add_extension(made, authority->certificate, NID_authority_key_identifier, "keyid:always") ||
        !add_extension(made, authority->certificate, NID_subject_key_identifier, "hash") ||
        !add_extension(made, authority->certificate, NID_subject_alt_name, px_buffer_string(&name)) ||
        !X509_sign(made, authority->key, EVP_sha256()))
        return NULL;
    return TAKE_PTR(made);
}

/* ---- The memory file ---- */

static bool load_authority(struct px_authority *authority, int file, bool *ret_empty)
{
    px_auto_buffer struct px_buffer bytes = {0};
    if (lseek(file, 0, SEEK_SET) < 0 || px_read_all(file, &bytes, KEY_FILE_MAX) < 0)
        return false;
    *ret_empty = bytes.length == 0;
    if (*ret_empty)
        return true;
    px_auto(free_bio) BIO *text = BIO_new_mem_buf(bytes.data, (int)bytes.length);
    authority->key = text ? PEM_read_bio_PrivateKey(text, NULL, NULL, NULL) : NULL;
    authority->certificate = text ? PEM_read_bio_X509(text, NULL, NULL, NULL) : NULL;
    explicit_bzero(bytes.data, bytes.length);
    return authority->key && authority->certificate;
}

static bool keep_authority(const struct px_authority *authority, int file)
{
    px_auto(free_bio) BIO *text = BIO_new(BIO_s_secmem());
    char *bytes = NULL;
    if (!text || !PEM_write_bio_PKCS8PrivateKey(text, authority->key, NULL, NULL, 0, NULL, NULL) ||
        !PEM_write_bio_X509(text, authority->certificate))
        return false;
    long length = BIO_get_mem_data(text, &bytes);
    return length > 0 && px_write_all(file, bytes, (size_t)length) == 0;
}

static bool describe(struct px_authority *authority)
{
    px_auto(free_bio) BIO *text = BIO_new(BIO_s_mem());
    char *bytes = NULL;
    if (!text || !PEM_write_bio_X509(text, authority->certificate))
        return false;
    long length = BIO_get_mem_data(text, &bytes);
    px_buffer_add(&authority->pem, bytes, (size_t)length);
    return px_buffer_ok(&authority->pem);
}

/* ---- Servers ---- */

static bool load_roots(struct px_authority *authority, int file)
{
    px_auto_buffer struct px_buffer bytes = {0};
    if (lseek(file, 0, SEEK_SET) < 0 || px_read_all(file, &bytes, ROOTS_MAX) < 0)
        return false;
    px_auto(free_bio) BIO *text = BIO_new_mem_buf(bytes.length ? bytes.data : "", (int)bytes.length);
    X509_STORE *store = SSL_CTX_get_cert_store(authority->client);
    for (X509 *root; text && (root = PEM_read_bio_X509_AUX(text, NULL, NULL, NULL)); X509_free(root))
        if (!X509_STORE_add_cert(store, root)) {
            X509_free(root);
            return false;
        }
    ERR_clear_error(); /* the end of the file is an error too */
    return text != NULL;
}

static bool make_client(struct px_authority *authority, int roots)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    authority->client = context;
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) || !load_roots(authority, roots))
        return false;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return true;
}

SSL *px_authority_connect(struct px_authority *authority, const char *host)
{
    static const unsigned char http[] = "\x08http/1.1";
    SSL *ssl = SSL_new(authority->client);
    if (ssl && SSL_set_tlsext_host_name(ssl, host) && SSL_set1_host(ssl, host) &&
        SSL_set_alpn_protos(ssl, http, sizeof http - 1) == 0) {
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        SSL_set_connect_state(ssl);
        return ssl;
    }
    SSL_free(ssl);
    return NULL;
}

/* ---- Scripts ---- */

/* A client that can speak HTTP/2 speaks HTTP/1.1 then. One that wants only another protocol is refused. */
static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_length, const unsigned char *offered,
                           unsigned length, void *unused)
{
    static const unsigned char http[] = "\x08http/1.1";
    unsigned char *chosen = NULL;
    (void)ssl;
    (void)unused;
    if (SSL_select_next_proto(&chosen, ret_length, http, sizeof http - 1, offered, length) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

SSL_CTX *px_authority_host(struct px_authority *authority, const char *host)
{
    px_auto(free_certificate) X509 *certificate = make_host(authority, host);
    SSL_CTX *context = certificate ? SSL_CTX_new(TLS_server_method()) : NULL;
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) ||
        SSL_CTX_use_certificate(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey(context, authority->host_key) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    return context;
}

const char *px_authority_new(int key_file, int roots, struct px_authority **ret)
{
    struct px_authority *authority = calloc(1, sizeof *authority);
    bool empty = false;
    const char *why = NULL;
    if (!authority)
        return "no memory";
    if (!load_authority(authority, key_file, &empty))
        why = "the authority for secrets can't be read";
    else if (empty && (!make_authority(authority) || !keep_authority(authority, key_file)))
        why = "the authority for secrets can't be made";
    else if (!(authority->host_key = EVP_EC_gen("P-256")) || !describe(authority))
        why = "a key for hosts with secrets can't be made";
    else if (!make_client(authority, roots))
        why = "the certificates that servers are checked with can't be loaded";
    if (!why) {
        *ret = authority;
        return NULL;
    }
    ERR_clear_error();
    px_authority_free(authority);
    return why;
}
