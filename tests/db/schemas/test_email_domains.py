"""E-mail addresses of special-use domains (RFC 6761): useful on development machines, refused in production."""

import pytest
from pydantic import ValidationError

from db.create_admin import EMAIL, AdminRefused, checked
from db.schemas.fields import SPECIAL_USE_DOMAINS
from jobs.first_admin import first_admin_faults

ADDRESSES = [f"hanako@shop.{domain}" for domain in sorted(SPECIAL_USE_DOMAINS)]
CALLS: dict[str, dict[str, object]] = {
    "/auth/signup/salon": {"name": "Hanako", "password": "tea and biscuits", "termsAccepted": True},
    "/auth/login": {"password": "tea and biscuits"},
    "/auth/verify-otp": {"otp": "123456"},
    "/auth/resend-otp": {},
    "/auth/forgot-password": {},
    "/auth/reset-password": {"otp": "123456", "newPassword": "tea and biscuits"},
}


@pytest.mark.parametrize("address", ADDRESSES)
async def test_outside_production_they_sign_up(api, address):
    answer = await api.post("/auth/signup/salon", {"email": address, **CALLS["/auth/signup/salon"]})
    assert (answer.status, answer.data["email"]) == (201, address)


@pytest.mark.parametrize("path", CALLS)
async def test_in_production_every_route_refuses_them(instance, api, monkeypatch, path):
    monkeypatch.setattr(instance.settings, "app_env", "production")
    for address in ADDRESSES:
        answer = await api.post(path, {"email": address, **CALLS[path]})
        assert (answer.status, answer.body["code"]) == (400, "VALIDATION_ERROR")
        [fault] = answer.body["details"]
        assert fault["field"] == "email" and "cannot receive mail" in fault["message"]


def test_in_production_no_admin_has_one():
    values = {"admin_email": "boss@shop.local", "admin_password": "tea and biscuits"}
    assert first_admin_faults({**values, "app_env": "production"}) == ["ADMIN_EMAIL: is not a valid e-mail address"]
    assert first_admin_faults({**values, "app_env": "development"}) == []
    with pytest.raises(AdminRefused, match="cannot receive mail"):
        checked(EMAIL, "the e-mail address", "boss@shop.local", production=True)
    assert checked(EMAIL, "the e-mail address", "boss@shop.local") == "boss@shop.local"


@pytest.mark.parametrize("address", ["a@example.com", "a@test.example.com", "a@localhost.jp"])
def test_others_are_accepted_everywhere(address):
    assert EMAIL.validate_python(address, context={"production": True}) == address


def test_malformed_addresses_are_refused_everywhere():
    with pytest.raises(ValidationError):
        EMAIL.validate_python("a@b@c.test")
