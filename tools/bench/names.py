"""The names in every table and picture, apart from what needs the services: the plot is drawn without them."""

# Names of contestants, as every table has them.
OURS_WARM = "ours, warm"
OURS_COLD = "ours, cold"
RELAY = "C relay (floor)"
COPYURL = "rclone copyurl"
STREAMS = "rclone copyto, 8 streams"
NAIVE = "naive boto3"
NAIVE_WARM = "naive boto3, warm"
BY_DISK = "requests → /tmp → boto3"
CURL = "curl | aws s3 cp"
SINGLE_CONNECTION = (COPYURL, NAIVE, BY_DISK, CURL)

CONNECTIONS = 8

# Of scenarios.
UNLIMITED, LANES, SMALL, MEMORY, CORRECTNESS = "A", "B", "C", "D", "E"
