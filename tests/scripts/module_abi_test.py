"""The number of the CUDA module's interface changes with the code of every header behind it, and with nothing else."""

import importlib.util
import pathlib
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SPEC = importlib.util.spec_from_file_location("module_abi", ROOT / "lib/backend/cuda/module_abi.py")
module_abi = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(module_abi)

HEADERS = {module_abi.BORDER: '#include "lib/a.h"\nstruct Table { int a; };  // words\n',
           "lib/a.h": '#include <vector>\n#include "lib/b.h"\n#include "lib/c.h"\nstruct A { int x; };\n',
           "lib/b.h": '#include "lib/c.h"\nstruct B { int x; };\n',
           "lib/c.h": "struct C { int x; };\n",
           "lib/d.h": "struct D { int x; };\n"}


class ModuleAbiTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        for name, text in HEADERS.items():
            self.write(name, text)
        self.before = self.number()

    def write(self, name, text):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def number(self):
        return module_abi.abi_of(self.root, module_abi.headers_behind(self.root, module_abi.BORDER))

    def test_it_changes_with_every_header_behind_the_border(self):
        for name in (module_abi.BORDER, "lib/a.h", "lib/b.h", "lib/c.h"):
            with self.subTest(name):
                self.write(name, HEADERS[name].replace("int", "long"))
                self.assertNotEqual(self.number(), self.before)
                self.write(name, HEADERS[name])
                self.assertEqual(self.number(), self.before)

    def test_it_does_not_change_with_comments_blanks_and_other_headers(self):
        self.write("lib/b.h", "// New words.\n\n" + HEADERS["lib/b.h"].replace("; }", ";   }"))
        self.write("lib/d.h", "struct D { long x; };\n")
        self.assertEqual(self.number(), self.before)

    def test_the_headers_behind_the_border_are_those_of_the_executor(self):
        headers = module_abi.headers_behind(ROOT, module_abi.BORDER)
        for name in ("lib/backend/backend.h", "lib/base/parameter_sink.h", "lib/graph/graph.h", "lib/optim/optimizer.h"):
            self.assertIn(name, headers)

    def test_the_header_that_is_written_names_its_sources(self):
        output, depfile = self.root / "abi.h", self.root / "abi.d"
        module_abi.main(str(self.root), str(output), str(depfile))
        self.assertIn(f"kCudaModuleAbi = {self.before:#x};", output.read_text())
        self.assertEqual(depfile.read_text().split(),
                         [f"{output}:", *(str(self.root / name) for name in sorted(HEADERS) if name != "lib/d.h")])


if __name__ == "__main__":
    unittest.main(verbosity=2)
