"""A small checkout: the scripts and the launcher of this one around a program that builds in seconds."""

import os
import shutil

from script_case import ScriptTest, support

FILES = {
    "meson.build": "project('distmnist', 'cpp', version: '0.1.0', meson_version: '>=1.0', "
                   "default_options: ['cpp_std=c++20'])\nsubdir('tools')\n",
    "meson_options.txt": "option('tests', type: 'boolean', value: false)\n",
    "tools/meson.build": "executable('distmnist', 'distmnist.cc')\n",
    # Notes how it was started, if told where.
    "tools/distmnist.cc": r"""#include <cstdio>
#include <cstdlib>
int main(int count, char** arguments) {
  const char* notes = std::getenv("TINY_NOTES");
  if (std::FILE* file = notes ? std::fopen(notes, "a") : nullptr) {
    for (int i = 1; i < count; ++i) std::fprintf(file, "%s\n", arguments[i]);
    std::fclose(file);
  }
}
""",
}
CAN_CHANGE_USER = os.geteuid() == 0 and shutil.which("setpriv")
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def make(folder):
    """Makes it in `folder`, which must not exist yet."""
    unused = shutil.ignore_patterns("__pycache__", "meson.build")
    shutil.copytree(support.ROOT / "launch", folder / "launch", ignore=unused)
    (folder / "tools").mkdir()
    for name in ("apt-packages.txt", "tools/download_mnist.py"):
        shutil.copy2(support.ROOT / name, folder / name)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


class CheckoutTest(ScriptTest):
    """A case with such a checkout, in a folder with an awkward name."""

    def setUp(self):
        super().setUp()
        self.checkout = make(self.folder / "a checkout, größer")
        self.build_dir = self.checkout / "build"
        self.environment = {"PATH": self.path(), "PYTHONDONTWRITEBYTECODE": "1", "CCACHE_DISABLE": "1"}

    def fake_slow(self, name, then=""):
        """A stand-in that does not end; wait_for_slow() returns once it is at work."""
        return self.fake(name, f'touch "{self.folder}/at_work"; {then}exec sleep 600\n')

    def wait_for_slow(self):
        support.wait_until((self.folder / "at_work").exists, "the slow tool to be at work")
