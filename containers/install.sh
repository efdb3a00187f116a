#!/bin/sh
# Makes a root file system of Debian 12 an image of Terapose: sh containers/install.sh cpu|cuda
#
# Every recipe runs these steps and no others: Containerfile (Docker, Podman, ch-image), terapose.def
# (Apptainer), and the test that builds an image with mmdebstrap (tests/integration/charliecloud.py).
#
# 1. Debian's packages: Python, and ps, with which Nextflow measures tasks
# 2. a virtual environment in /opt/terapose with the packages of requirements/runtime.txt, by hash
# 3. Terapose with its commands and its weights, as a package like the others
# 4. cpu: what only a GPU needs is removed
# 5. commands in /usr/local/bin that set what they need themselves: runtimes differ in which of an
#    image's variables they pass on, and some pass on those of the host
# 6. compiled kernels, for a processor that is named, so that they serve on all nodes
# 7. a user who is not root, and what runtimes mount or read where the image cannot be written to
#
# TORCH_INDEX: cpu takes PyTorch from this package index, if one is given, in the pinned version, but
# not by hash, which is to be an index of builds without CUDA. Otherwise it takes the pinned build and
# removes from it what can be removed.
# KERNELS: the processor, as LLVM names it. The default is one of 2013 (x86-64-v3, or generic where
# processors are not from Intel or AMD); on an older one kernels are compiled again.
set -eu
umask 022
variant=${1:-}
case $variant in
cpu | cuda) ;;
*)
    echo "install.sh: the variant is cpu or cuda" >&2
    exit 2
    ;;
esac
source=$(cd "$(dirname "$0")/.." && pwd)
home=/opt/terapose
torch_index=${TORCH_INDEX:-}
mounts="beegfs cluster data gpfs lustre nfs project projects scratch shared users work"
case $(uname -m) in
x86_64) kernels=${KERNELS:-x86-64-v3} ;;
*) kernels=${KERNELS:-generic} ;;
esac
case $kernels in
# as /proc/cpuinfo names it; a virtual machine may hide any of it
x86-64-v3) needs='abm avx2 bmi1 bmi2 f16c fma movbe' ;;
x86-64 | generic) needs= ;;
*)
    echo "install.sh: KERNELS is x86-64-v3, x86-64 or, on ARM, generic" >&2
    exit 2
    ;;
esac
flags=$(grep -m1 -iE '^(flags|features)' /proc/cpuinfo) || flags=
[ -r /proc/cpuinfo ] || needs=/proc
for flag in $needs; do
    case " $flags " in *" $flag "*) continue ;; esac
    echo "install.sh: /proc is not mounted, or KERNELS=$kernels cannot run here (x86-64 can): no $flag" >&2
    exit 2
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# 1
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    ca-certificates procps python3 python3-venv
apt-get clean
rm -rf /var/lib/apt/lists/*

# 2
left_out='^$'
if [ "$variant" = cpu ]; then
    left_out='^(triton|cuda-[a-z]+)=='
    [ -z "$torch_index" ] || left_out='^(triton|torch|torchvision|cuda-[a-z]+|nvidia-[a-z0-9-]+)=='
fi
awk -v left_out="$left_out" '/^[a-z]/ { kept = $0 !~ left_out } kept' \
    "$source/requirements/runtime.txt" >"$scratch/runtime.txt"
python3 -m venv "$home"
pip="$home/bin/python3 -m pip --disable-pip-version-check --no-cache-dir"
# The list is complete, and cpu leaves out what PyTorch says it depends on.
$pip install --no-deps --only-binary :all: --require-hashes -r "$scratch/runtime.txt"
if [ "$variant" = cpu ] && [ -n "$torch_index" ]; then
    # shellcheck disable=SC2046
    $pip install --no-deps --only-binary :all: --index-url "$torch_index" \
        $(grep -oE '^(torch|torchvision)==[0-9.]+' "$source/requirements/runtime.txt")
fi

# 3
for name in __init__.py LICENSE README.md assets bin pyproject.toml; do
    cp -R "$source/$name" "$scratch/"
done
find "$scratch" -name __pycache__ -prune -exec rm -rf {} +
$pip install --no-deps --no-build-isolation --no-index "$scratch"

# 4
packages=$("$home/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ "$variant" = cpu ] && [ -d "$packages/nvidia" ]; then
    # PyTorch's build for CUDA cannot be loaded without the libraries it is linked to; the others are
    # loaded when a GPU is used.
    ldd "$packages"/torch/lib/*.so | grep -oE '/[^ :]+' | xargs realpath | sort -u >"$scratch/linked"
    find "$packages/nvidia" -type f ! -name '*.py' ! -iname '*license*' | xargs realpath | sort -u |
        comm -23 - "$scratch/linked" | xargs rm -f
    find "$packages/nvidia" -xtype l -delete
    find "$packages/nvidia" -type d -empty -delete
fi

# 5
mkdir -p /usr/local/bin
cat >"$home/launch" <<END
#!/bin/sh
# Calls the command of its own name; tasks call terapose.py, as it is called in a clone.
command=\${0##*/}
export NUMBA_CACHE_DIR=$home/kernels
lacks=
flags=\$(grep -m1 -iE '^(flags|features)' /proc/cpuinfo)
for flag in $needs; do
    case " \$flags " in *" \$flag "*) ;; *) lacks=\$flag ;; esac
done
if [ -z "\${NUMBA_CPU_NAME:-}\$lacks" ]; then
    export NUMBA_CPU_NAME=$kernels NUMBA_CPU_FEATURES=
fi
exec "$home/bin/\${command%.py}" "\$@"
END
chmod 755 "$home/launch"
for name in python3 terapose terapose.py; do
    ln -sf "$home/launch" "/usr/local/bin/$name"
done

# 6
mkdir "$home/kernels"
/usr/local/bin/python3 -m terapose.pipeline.compiling
/usr/local/bin/terapose simulate "$scratch/nuclei.zarr" --shape 16,80,80
/usr/local/bin/terapose simulate "$scratch/slide.zarr" --kind slide --shape 80,80

# 7
# Apptainer, which needs none, may not let one be made without root
useradd --uid 10001 --create-home terapose || echo "no user was made: use the image as your own" >&2
mkdir -p /ch
echo "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" >/ch/environment
for name in $mounts; do
    mkdir -p "/$name"
done
