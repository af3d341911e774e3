# goal: kinds that do not exist
# layer: result checks
# expect: contained:crashed
send(field(0))
send(field(0xFFFF))
leave()
