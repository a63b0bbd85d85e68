"""The texts of mails, and names of users that cannot change them."""

from typing import Any

import pytest

from services.mail.rendering import DECLARATIONS, PARAM_MAX
from services.mail.senders import TemplateError, render

VERIFY = {
    "name": "山田 花子",
    "role": "SALON",
    "code": "012345",
    "minutes": "10",
    "signed_up_at": "2031-02-03 04:05 UTC",
    "device": "Safari on iPhone",
}
PARAMS = {
    "verify": VERIFY,
    "reset": {"name": "Anna", "code": "987654", "minutes": "10"},
    "password_changed": {"name": "Anna", "changed_at": "2031-02-03 04:05 UTC"},
    "instagram_reminder": {
        "name": "Anna",
        "username": "anna.b_1",
        "code": "BE-77AA",
        "url": "https://encer.example/social-media?a=1&b=2",
    },
}


@pytest.mark.parametrize("template", DECLARATIONS)
def test_each_mail_says_everything_it_declares_in_both_bodies(template):
    content = render(template, PARAMS[template])
    for key, value in PARAMS[template].items():
        value = value.lower() if key == "role" else value
        assert value in content.text
        assert value.replace("&", "&amp;") in content.html
    assert content.subject == DECLARATIONS[template].subject


@pytest.mark.parametrize(("template", "missing"), [(t, p) for t in DECLARATIONS for p in DECLARATIONS[t].params])
@pytest.mark.parametrize("value", [None, "", " \n\t", 7])
def test_a_missing_blank_or_wrong_parameter_is_named(template, missing, value):
    params = {**PARAMS[template], missing: value}
    if value is None:
        del params[missing]
    with pytest.raises(TemplateError, match=f"{template} lacks {missing}$"):
        render(template, params)


def test_every_missing_parameter_is_named_and_no_value():
    with pytest.raises(TemplateError, match="verify lacks minutes, role") as caught:
        render("verify", {"name": "Anna", "code": "012345"})
    assert "012345" not in str(caught.value)


def test_an_unknown_mail_is_refused():
    unknown: Any = "../../etc/passwd"
    with pytest.raises(TemplateError, match="there is no mail template"):
        render(unknown, VERIFY)


def test_the_verification_mail_names_who_signed_up():
    content = render("verify", VERIFY)
    assert "Name: 山田 花子\n    Role: salon\n" in content.text
    assert "<strong><bdi>山田 花子</bdi></strong>" in content.html
    assert "    Time: 2031-02-03 04:05 UTC\n    Device: Safari on iPhone\n" in content.text
    assert "If this was another person, do not enter the code" in content.text
    assert "012345" not in content.subject  # subjects end up in the logs of relays


def test_a_verification_mail_of_an_earlier_version_is_sent_too():
    content = render("verify", {key: value for key, value in VERIFY.items() if key not in ("signed_up_at", "device")})
    assert "Time: unknown\n    Device: unknown\n" in content.text


def test_html_is_escaped_and_text_is_not():
    content = render("verify", {**VERIFY, "name": """<b>O'Neil & "Söhne"</b>"""})
    assert "&lt;b&gt;O&#x27;Neil &amp; &quot;Söhne&quot;&lt;/b&gt;" in content.html.replace("&#39;", "&#x27;")
    assert "<b>" not in content.html
    assert """<b>O'Neil & "Söhne"</b>""" in content.text


def test_template_syntax_in_a_name_is_text():
    content = render("verify", {**VERIFY, "name": "{{ 1+1 }}{% raw code %}"})
    assert "{{ 1+1 }}{% raw code %}" in content.text
    assert "{{ 1+1 }}{% raw code %}" in content.html


def test_a_parameter_cannot_switch_escaping_off():
    functions: dict[str, Any] = {"xhtml_escape": str, "_tt_utf8": str}
    content = render("verify", {**VERIFY, "name": "<b>", **functions})
    assert "<b>" not in content.html


@pytest.mark.parametrize("breaks", ["\n", "\r\n", "\r", "\x00", "\x0b", "\x1b[2J", "\x85", "\u2028", "\u2029"])
def test_a_name_stays_on_its_line(breaks):
    content = render("verify", {**VERIFY, "name": f"Anna{breaks}Role: admin"})
    line = next(line for line in content.text.splitlines() if "Name:" in line)
    assert line.endswith("Role: admin")
    assert not any(char in content.text + content.html for char in "\x00\r\x0b\x1b\x85\u2028\u2029")


@pytest.mark.parametrize("name", ["שרה לוי", "محمد", "山田　花子", "👩🏽‍🎤 José", "Ōsaka", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"])
def test_names_of_the_world_arrive_unchanged(name):
    content = render("reset", {**PARAMS["reset"], "name": name})
    assert f"Hello {name}," in content.text
    assert f"<bdi>{name}</bdi>" in content.html


def test_overrides_of_the_writing_direction_and_lone_surrogates_do_not_pass():
    content = render("verify", {**VERIFY, "name": "\u202eannA\u2067\u2069 \ud800x"})
    assert "Name: annA \ufffdx" in content.text
    content.html.encode()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("You won, see https://evil.com/x", "You won, see https:// evil. com/x"),
        ("mailto:me@evil.com", "mailto: me@evil. com"),
        ("www．evil。com", "www． evil。 com"),
        ("J.R.R. Tolkien", "J. R. R. Tolkien"),
        ("Dr. Müller", "Dr. Müller"),
    ],
)
def test_a_name_carries_no_link_to_another_mailbox(name, shown):
    content = render("verify", {**VERIFY, "name": name})
    assert f"Name: {shown}\n" in content.text


def test_long_parameters_are_cut():
    content = render("verify", {**VERIFY, "name": "n" * 10_000, "code": "c" * 10_000})
    assert "n" * 79 + "…" in content.text
    assert "n" * 80 not in content.text
    assert content.text.count("c") <= PARAM_MAX + 50


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//evil.com", " \tJAVASCRIPT:x"])
def test_the_reminder_links_to_the_web_only(url):
    with pytest.raises(TemplateError, match="url must be http"):
        render("instagram_reminder", {**PARAMS["instagram_reminder"], "url": url})


def test_a_url_cannot_leave_its_attribute():
    content = render("instagram_reminder", {**PARAMS["instagram_reminder"], "url": 'https://x/"onload="x'})
    assert 'href="https://x/&quot;onload=&quot;x"' in content.html
