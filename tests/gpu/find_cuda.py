#!/usr/bin/env python3
"""Finds everything that the build of the CUDA module needs, in a toolkit and in the CUDA packages of Python
(nvidia-cublas, nvidia-cudnn-cu13, ...), and prints it as shell variables:

    tests/gpu/find_cuda.py FOLDER

NVCC is the compiler. CUDA_PATH is a toolkit with the runtime and cuBLASLt: nvcc's own if it has both, otherwise FOLDER,
in which links to the parts are created. CUDNN_FOLDER has include/cudnn.h and lib/libcudnn.so.9; empty if cuDNN is part
of the toolkit. CUDA_LIBRARIES are the folders that programs need in LD_LIBRARY_PATH. If something is missing, the exit
code is 1 and standard error has a sentence about it.
"""

import glob
import os
import pathlib
import shlex
import shutil
import site
import sys
import sysconfig

RUNTIME = (("cuda_runtime_api.h", ["libcudart.so*", "libcudart_static.a", "libcudadevrt.a"]),)
MATMUL = (("cublasLt.h", ["libcublasLt.so*"]),)
LIBRARY_FOLDERS = ("lib64", "lib", "targets/x86_64-linux/lib", "lib/x86_64-linux-gnu")
INCLUDE_FOLDERS = ("include", "targets/x86_64-linux/include")


def find_nvcc(environment):
    """nvcc from $CUDA_PATH or $CUDA_HOME, PATH, /usr/local/cuda*, or a Python package; None if there is none."""
    candidates = [pathlib.Path(environment[name]) / "bin" / "nvcc" for name in ("CUDA_PATH", "CUDA_HOME")
                  if environment.get(name)]
    on_path = shutil.which("nvcc", path=environment.get("PATH"))
    candidates += [pathlib.Path(on_path)] if on_path else []
    candidates += [pathlib.Path(path) for path in sorted(glob.glob("/usr/local/cuda*/bin/nvcc"))]
    candidates += [folder / "bin" / "nvcc" for folder in package_folders()]
    return next((nvcc for nvcc in candidates if os.access(nvcc, os.X_OK)), None)


def package_folders():
    """Folders of this Python's `nvidia` packages, each with include/ or lib/: nvidia/cu13, nvidia/cudnn, ..."""
    places = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib"), *sys.path]
    roots = [pathlib.Path(place) / "nvidia" for place in dict.fromkeys(places) if place]
    return [folder for root in roots if root.is_dir() for folder in sorted(root.iterdir())
            if (folder / "include").is_dir() or (folder / "lib").is_dir()]


def include_folder(folder, header):
    """The folder below `folder` that has the header, or None."""
    return next((folder / name for name in INCLUDE_FOLDERS if (folder / name / header).exists()), None)


def library_folder(folder, patterns):
    """The folder below `folder` that has a file of each pattern, or None."""
    for name in LIBRARY_FOLDERS:
        if all(glob.glob(str(folder / name / pattern)) for pattern in patterns):
            return folder / name
    return None


def find_part(folders, header, patterns):
    """(include folder, library folder) of the first folder that has both, or None."""
    for folder in folders:
        found = include_folder(folder, header), library_folder(folder, patterns)
        if all(found):
            return found
    return None


def link_into(source, target, patterns=("*",)):
    target.mkdir(parents=True, exist_ok=True)
    for pattern in patterns:
        for path in glob.glob(str(source / pattern)):
            link = target / os.path.basename(path)
            if not os.path.lexists(link):
                link.symlink_to(os.path.realpath(path))


def compose_toolkit(folder, folders):
    """Creates a toolkit of links in `folder`; returns a sentence about what is missing, or None."""
    shutil.rmtree(folder, ignore_errors=True)
    for header, patterns in (*RUNTIME, *MATMUL):
        part = find_part(folders, header, patterns)
        if part is None:
            return f"no folder has {header} and {' and '.join(patterns)}; looked in {', '.join(map(str, folders))}"
        link_into(part[0], folder / "include")
        link_into(part[1], folder / "lib64", patterns)
    # Newer versions of meson search below targets/.
    target = folder / "targets" / "x86_64-linux"
    target.mkdir(parents=True)
    for name, place in (("include", "include"), ("lib", "lib64"), ("lib64", "lib64")):
        (target / name).symlink_to(folder / place)
    # The packages only have libcublasLt.so.13, without the name that linkers search for.
    for name in ("libcudart.so", "libcublasLt.so"):
        link = folder / "lib64" / name
        if not link.exists():
            link.symlink_to(os.path.realpath(sorted(glob.glob(f"{link}.*"))[0]))
    return None


def is_whole(toolkit):
    """True if every version of meson finds everything that it needs in this toolkit."""
    libraries = ("libcudart.so", "libcudart_static.a", "libcublasLt.so")
    folders = (toolkit / "lib64", toolkit / "targets/x86_64-linux/lib")
    return ((toolkit / "include" / "cublasLt.h").exists() and
            all((folder / name).exists() for folder in folders for name in libraries))


def find(composed, environment):
    """The variables as a dictionary, or a sentence about what is missing."""
    nvcc = find_nvcc(environment)
    if nvcc is None:
        return "no nvcc on PATH, in /usr/local/cuda* or in a Python package: the CUDA module cannot be built"
    own = pathlib.Path(os.path.realpath(nvcc)).parent.parent
    packages = package_folders()
    toolkit = own
    if not is_whole(own):
        fault = compose_toolkit(composed, [own, *packages])
        if fault:
            return fault
        toolkit = composed
    libraries = [toolkit / "lib64"]
    cudnn = find_part([toolkit, own], "cudnn.h", ["libcudnn.so"])
    cudnn_folder = ""
    if cudnn is None:
        found = next((folder for folder in packages if (folder / "include/cudnn.h").exists() and
                      (folder / "lib/libcudnn.so.9").exists()), None)
        if found is None:
            return f"no cuDNN 9 in {own} nor in a Python package (nvidia-cudnn-cu13)"
        cudnn_folder = str(found)
        libraries.append(found / "lib")
    # cuDNN opens NVRTC and cuBLAS when it needs them; our module opens NCCL.
    opened = ("libnvrtc.so*", "libcublas.so*", "libnccl.so*")
    libraries += [folder / "lib" for folder in packages if any(glob.glob(str(folder / "lib" / name)) for name in opened)]
    return {"NVCC": str(nvcc), "CUDA_PATH": str(toolkit), "CUDNN_FOLDER": cudnn_folder,
            "CUDA_LIBRARIES": ":".join(dict.fromkeys(map(str, libraries)))}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = find(pathlib.Path(sys.argv[1]).absolute(), os.environ)
    if isinstance(found, str):
        sys.exit(f"tests/gpu/find_cuda.py: {found}")
    for name, value in found.items():
        print(f"{name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
