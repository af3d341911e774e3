#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Gets interpreters that pyexec must refuse: tools/other-pythons.sh FOLDER puts FOLDER/bin/graalpy (GraalPy on this machine's JVM, with Maven) and
# FOLDER/bin/python3.13t (a free-threaded CPython, built from the source package of Debian 13) there. What is there already is kept.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:?usage: tools/other-pythons.sh FOLDER}/bin"
folder=$(cd "$1" && pwd)
. "$source/tools/debian-sources.sh"

if [ ! -x "$folder/bin/graalpy" ]; then
    cat >"$folder/pom.xml" <<'END'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>others</groupId><artifactId>others</artifactId>
<version>1</version><dependencies>
<dependency><groupId>org.graalvm.polyglot</groupId><artifactId>python-community</artifactId><version>25.0.1</version><type>pom</type></dependency>
<dependency><groupId>org.graalvm.python</groupId><artifactId>python-launcher</artifactId><version>25.0.1</version></dependency>
</dependencies></project>
END
    quietly mvn -q -B -f "$folder/pom.xml" dependency:copy-dependencies -DincludeTypes=jar "-DoutputDirectory=$folder/jars"
    cat >"$folder/bin/graalpy" <<END
#!/bin/sh
exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '$folder/jars/*' com.oracle.graal.python.shell.GraalPythonMain "\$@"
END
    chmod +x "$folder/bin/graalpy"
fi

if [ ! -x "$folder/bin/python3.13t" ]; then
    rm -rf "$folder/apt" "$folder/packages" "$folder/sources" "$folder/free-threaded"
    prepare_apt trixie
    cd "$folder/sources"
    fetch_source python3.13
    cd python3.13
    quietly ./configure -q --disable-gil --prefix="$folder/free-threaded" --without-ensurepip --disable-test-modules
    quietly make -s -j"$(nproc)"
    # The patches of Debian make a link that is there already.
    make -s -i install >"$folder/log" 2>&1
    ln -s "$folder/free-threaded/bin/python3.13t" "$folder/bin/python3.13t"
fi
