# /// script
# dependencies = ["imageio-ffmpeg>=0.6,<1"]
# ///
"""Make the sample files of the fake GoPro Cloud: `.venv/bin/uv run tools/samples.py`.

The files are committed, so nobody needs ffmpeg to run or to test Cloud Sync. The picture counts the seconds: the three
videos are the three chapters of one recording.
"""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = Path(__file__).resolve().parents[1] / "ops/local/gopro_cloud/samples"
PICTURE = "testsrc=size=320x240:rate=10"
CHAPTER_SECONDS = 2
H264 = ("-c:v", "libx264", "-preset", "veryslow", "-crf", "35", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
SAMPLES = {
    **{
        f"video{chapter + 1}.mp4": ("-ss", str(chapter * CHAPTER_SECONDS), "-t", str(CHAPTER_SECONDS), *H264)
        for chapter in range(3)
    },
    "photo.jpg": ("-frames:v", "1", "-q:v", "12"),
    # GoPro's RAW files are TIFF files by their structure.
    "raw.gpr": (
        "-frames:v",
        "1",
        "-pix_fmt",
        "gray16le",
        "-compression_algo",
        "deflate",
        "-f",
        "image2",
        "-c:v",
        "tiff",
    ),
}


def main() -> None:
    import imageio_ffmpeg  # noqa: PLC0415  # only in the environment that uv makes for this script

    with TemporaryDirectory() as folder:
        for name, options in SAMPLES.items():
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", PICTURE, *options]
            subprocess.run([*command, "-fflags", "+bitexact", "-flags:v", "+bitexact", Path(folder) / name], check=True)
            shutil.copyfile(Path(folder) / name, FOLDER / name)


if __name__ == "__main__":
    main()
