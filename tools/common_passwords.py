"""Write services/security/common_passwords.txt: `.venv/bin/python -m tools.common_passwords`.

The list is the beginning of that of zxcvbn (MIT licence). The server does not import zxcvbn, because all of its lists
together take 12 MB of memory and a twentieth of the start.
"""

from pathlib import Path

from zxcvbn.frequency_lists import FREQUENCY_LISTS

FILE = Path(__file__).parents[1] / "services" / "security" / "common_passwords.txt"
COUNT = 10_000


def common_passwords() -> str:
    return "".join(f"{password}\n" for password in FREQUENCY_LISTS["passwords"][:COUNT])


if __name__ == "__main__":
    FILE.write_text(common_passwords())
