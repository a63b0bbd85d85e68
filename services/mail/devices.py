"""Name the kind of device that sent a request, in a few words for a mail."""

# A browser's User-Agent also names older browsers, so the first match counts.
BROWSERS = {
    "Line/": "LINE",
    "Instagram": "Instagram",
    "Edg": "Edge",
    "OPR/": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "CriOS": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "CrOS": "ChromeOS",
    "Macintosh": "Mac",
    "Linux": "Linux",
}
UNKNOWN = "an unknown device"


def kind_of_device(user_agent: str) -> str:
    """Return for example `Safari on iPhone`: fixed words, because a client may send any text."""
    browser = next((name for mark, name in BROWSERS.items() if mark in user_agent), None)
    system = next((name for mark, name in SYSTEMS.items() if mark in user_agent), None)
    return " on ".join(part for part in (browser, system) if part) or UNKNOWN
