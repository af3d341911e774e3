#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py OUTPUT NAME... : writes each Python source as a C array."""
import os
import sys

with open(sys.argv[1], "w") as out:
    out.write('#include "guest/embedded_python.h"\n\nconst struct px_embedded_source px_embedded_sources[] = {\n')
    for path in sys.argv[2:]:
        with open(path, "rb") as file:
            source = file.read()
        compile(source, path, "exec")
        text = "".join("\\%03o" % byte if byte < 32 or byte > 126 or byte in b'"\\?' else chr(byte) for byte in source)
        lines = ['"%s"' % line.replace('"', '\\"') for line in text.split("\\012")]
        out.write('    {"%s",\n     %s},\n' % (os.path.basename(path), '\n     '.join(line[:-1] + '\\n"' for line in lines)))
    out.write("};\nconst size_t px_embedded_source_count = %d;\n" % len(sys.argv[2:]))
