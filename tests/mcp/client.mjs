// tests/mcp/client.py through the official TypeScript SDKs: @modelcontextprotocol/client, and for the mode
// "v1" @modelcontextprotocol/sdk, which most clients of today have.
import {createRequire} from 'node:module';
import {readFileSync} from 'node:fs';
import {join} from 'node:path';

const target = JSON.parse(process.argv[2]);
const old = target.mode === 'v1';
const require = createRequire(join(process.env.MCP_MODULES, 'package.json'));
const load = path => import(require.resolve(path));
const name = old ? '@modelcontextprotocol/sdk' : '@modelcontextprotocol/client';
const {Client} = await load(old ? name + '/client/index.js' : name);
const {StdioClientTransport} = await load(name + (old ? '/client/stdio.js' : '/stdio'));
const {StreamableHTTPClientTransport} = await load(old ? name + '/client/streamableHttp.js' : name);

const PNG = Buffer.from('\x89PNG\r\n\x1a\nrest', 'latin1').toString('base64');
const sleep = ms => new Promise(done => setTimeout(done, ms));

async function connect() {
    const options = old ? {} : {versionNegotiation: {mode: /^\d/.test(target.mode) ? {pin: target.mode} : target.mode}};
    const client = new Client({name: 'pyexec-tests', version: '1'}, options);
    const transport = target.command
        ? new StdioClientTransport({command: target.command, args: target.args, env: {...process.env, ...target.env}})
        : new StreamableHTTPClientTransport(new URL(target.url), {requestInit: {headers: {Authorization: 'Bearer ' + target.token}}});
    await client.connect(transport);
    return client;
}

const call = (client, tool, args, options) =>
    old ? client.callTool({name: tool, arguments: args}, undefined, options) : client.callTool({name: tool, arguments: args}, options);
const told = result => ({
    text: result.content.filter(block => block.type === 'text').map(block => block.text).join(''),
    error: !!result.isError,
    structured: result.structuredContent ?? null,
});

async function one(client, seen) {
    seen.version = old ? client.transport.protocolVersion ?? 'legacy' : client.getNegotiatedProtocolVersion();
    seen.server = client.getServerVersion().name;
    const {tools} = await client.listTools();
    seen.tools = tools.map(tool => tool.name);
    seen.description = tools[0].description;
    const run = async (key, tool, args) => { seen[key] = told(await call(client, tool, args)); };
    await run('value', 'run_python', {code: "print('hello')\n6 * 7"});
    await run('failed', 'run_python', {code: 'import os'});
    await run('written', 'write_file', {session_id: 's', path: 'in.txt', content: 'data'});
    await run('image_written', 'write_file', {session_id: 's', path: 'i.png', content_base64: PNG});
    await run('first', 'run_python', {session_id: 's', code: "a = open('in.txt').read()"});
    await run('kept', 'run_python', {session_id: 's', code: "open('out.txt', 'w').write(a * 2)"});
    await run('given', 'run_python', {code: "open('x').read()", files: {x: 'given'}});
    await run('listed', 'list_files', {session_id: 's'});
    await run('read', 'read_file', {session_id: 's', path: 'out.txt'});
    const image = (await call(client, 'read_file', {session_id: 's', path: 'i.png'})).content[0];
    seen.image = [image.type, image.mimeType, image.data];
    await run('reset', 'reset_session', {session_id: 's'});
    await run('gone', 'run_python', {session_id: 's', code: 'a'});
    await run('absent', 'list_files', {session_id: 'never'});
    await run('longer', 'run_python', {code: '1', timeout_ms: 3600000});
    try {
        await run('unknown_tool', 'nothing', {});
    } catch (error) {
        seen.unknown_tool = error.code;
    }
}

async function progress(client, seen) {
    const steps = [];
    const result = await call(client, 'run_python', {code: "import time\ntime.sleep(2.3)\n'done'"},
        {onprogress: step => steps.push(step.progress)});
    seen.progress = [steps, result.structuredContent.last_value_repr];
}

async function interrupted(client, seen) {
    const endless = call(client, 'run_python', {session_id: 'i', code: 'x = 1\nwhile True: pass'});
    await sleep(700);
    seen.interrupt = told(await call(client, 'interrupt', {session_id: 'i'}));
    seen.interrupted = told(await endless);
    seen.after_interrupt = told(await call(client, 'run_python', {session_id: 'i', code: 'x'}));
}

async function cancelled(client, seen) {
    await call(client, 'run_python', {session_id: 'c', code: 'x = 1'});
    const stop = new AbortController();
    const endless = call(client, 'run_python', {session_id: 'c', code: 'while True: pass'}, {signal: stop.signal});
    await sleep(500);
    stop.abort('enough');
    await endless.catch(() => {});
    const began = performance.now();
    const result = await call(client, 'run_python', {session_id: 'c', code: 'x'});
    seen.after_cancel = [result.structuredContent.last_value_repr, (performance.now() - began) / 1000];
}

async function together(seen) {
    const [first, second] = await Promise.all([connect(), connect()]);
    await Promise.all([first, second].map((client, i) => call(client, 'run_python', {session_id: 'both', code: `n = ${i}`})));
    await call(first, 'run_python', {session_id: 'shared', code: "a = 'of the first'"});
    seen.two_connections = told(await call(second, 'run_python', {session_id: 'shared', code: 'a'}));
    await Promise.all([first.close(), second.close()]);
}

const installed = JSON.parse(readFileSync(join(process.env.MCP_MODULES, 'node_modules', name, 'package.json')));
const seen = {sdk: `${name} ${installed.version}`};
const client = await connect();
await one(client, seen);
await progress(client, seen);
await interrupted(client, seen);
await cancelled(client, seen);
await client.close();
await together(seen);
process.stdout.write(JSON.stringify(seen));
