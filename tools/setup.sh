#!/bin/sh
# Finds a Python that is new enough and hands over to setup.py. PYTHON=... names another one.
root=$(cd "$(dirname "$0")/.." && pwd)
for name in ${PYTHON:-python3 python3.11 python3.12 python3.13 python3.14}; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11, 1))' 2>/dev/null; then
        exec "$name" "$root/tools/setup.py"
    fi
done

found=$("${PYTHON:-python3}" --version 2>/dev/null || echo "no Python")
if command -v apt-get >/dev/null; then
    remedy="sudo apt-get install -y python3.11 python3.11-venv"
elif command -v dnf >/dev/null; then
    remedy="sudo dnf install -y python3.12"
elif command -v brew >/dev/null; then
    remedy="brew install python@3.12"
else
    remedy="conda create -n terapose python=3.12 && conda activate terapose"
fi
echo "setup: Terapose needs Python 3.11.1 or newer, found $found; install it with: $remedy" >&2
exit 1
