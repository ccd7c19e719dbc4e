from __future__ import annotations

import re
import subprocess
import sys

import pytest

from decaseg.reporting.viewer.niivue import exporting, niivue_module


def test_the_package_s_script_exports_niivue_and_imports_nothing():
    text = niivue_module().decode()
    assert re.search(r"export\{[\w$]+ as Niivue\};\n\Z", text)
    assert not re.search(r"(?:^|[;}])\s*import\s*[\w{*\"']", text), (
        "a module that it imports would have to be served too"
    )


@pytest.mark.parametrize("script", ["", "export{a as default};", 'x("Creating new Niivue instance");let n=new A(o);'])
def test_another_layout_is_refused_with_what_to_do(script):
    with pytest.raises(ValueError, match="constraints"):
        exporting(script)


def test_a_missing_package_says_which_extra_brings_it(tmp_path):
    program = (
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'ipyniivue' else real(name, *a)\n"
        "from decaseg.reporting.viewer.niivue import niivue_module\n"
        "try: niivue_module()\nexcept ValueError as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "decaseg[view]" in done.stdout


def test_finding_the_script_imports_no_notebook():
    program = (
        "import sys; from decaseg.reporting.viewer.niivue import niivue_module; niivue_module()\n"
        "assert not {'ipyniivue', 'IPython'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
