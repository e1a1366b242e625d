// Unpacks the browser into $TMPDIR/chromium, and prints that path.
import chromium from "@sparticuz/chromium";

console.log(await chromium.executablePath());
