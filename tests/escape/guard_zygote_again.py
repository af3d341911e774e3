# goal: find the extension's own function by the collector, and become a zygote
# layer: no descriptor except the run's own channel
# flags: --timeout 500ms
# expect: contained:crashed,timeout
import gc
for thing in gc.get_objects():
    if type(thing).__name__ == "builtin_function_or_method" and thing.__name__ == "zygote" or \
            type(thing).__name__ == "module" and thing.__name__ == "pyexec_guest":
        (thing if callable(thing) else thing.zygote)()
os._exit(1)
