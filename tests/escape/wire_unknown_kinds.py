# goal: kinds that there are not
# layer: result checks
# expect: contained:crashed
send(field(0))
send(field(0xFFFF))
leave()
