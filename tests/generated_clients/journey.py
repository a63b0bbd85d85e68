"""From sign-up to notifications with the generated client: `python journey.py http://127.0.0.1:3000 picture.png`.

It asks for the code of a mail by printing the line “code”, and reads the code from its input.
"""

import io
import sys
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from encer_client import AuthenticatedClient, Client
from encer_client.api.auth import login, sign_up_influencer, sign_up_salon, verify_email
from encer_client.api.chat import list_messages, send_message, upload_attachment
from encer_client.api.connections import accept_request, request_connection
from encer_client.api.discovery import list_influencers
from encer_client.api.notifications import list_notifications
from encer_client.api.onboarding import onboard_influencer, onboard_salon
from encer_client.models import (
    AcceptRequestResponse,
    ConflictError,
    EmailNotVerifiedError,
    ListInfluencersResponse,
    ListMessagesResponse,
    ListNotificationsResponse,
    LogIn,
    LoginResponse,
    NewMessage,
    NewRequest,
    OnboardInfluencerForm,
    OnboardInfluencerResponse,
    OnboardSalonResponse,
    RequestConnectionResponse,
    SalonForm,
    SendMessageResponse,
    SignUpCode,
    SignUpForm,
    SignUpInfluencerResponse,
    SignUpSalonResponse,
    UploadAttachmentForm,
    UploadAttachmentResponse,
    VerifyEmailResponse,
)
from encer_client.types import File

BASE_URL, PICTURE = sys.argv[1], Path(sys.argv[2]).read_bytes()
PASSWORD = "correct-horse-battery"
T = TypeVar("T")


def expect(kind: type[T], answer: object) -> T:
    if not isinstance(answer, kind):
        raise SystemExit(f"{kind.__name__} was expected: {answer}")
    return answer


def picture() -> File:
    return File(payload=io.BytesIO(PICTURE), file_name="picture.png", mime_type="image/png")


def sign_in(email: str, kind: str) -> AuthenticatedClient:
    client = Client(base_url=BASE_URL)
    account = SignUpForm(name=kind, email=email, password=PASSWORD, terms_accepted=True)
    if kind == "influencer":
        signed_up = expect(SignUpInfluencerResponse, sign_up_influencer.sync(client=client, body=account)).data
    else:
        signed_up = expect(SignUpSalonResponse, sign_up_salon.sync(client=client, body=account)).data
    mine = LogIn(email=email, password=PASSWORD)
    assert expect(EmailNotVerifiedError, login.sync(client=client, body=mine)).email == email
    print("code", flush=True)
    code = SignUpCode(email=email, otp=input(), sign_up_token=signed_up.sign_up_token)
    expect(VerifyEmailResponse, verify_email.sync(client=client, body=code))
    signed_in = expect(LoginResponse, login.sync(client=client, body=mine))
    return AuthenticatedClient(base_url=BASE_URL, token=signed_in.access_token)


influencer = sign_in("py-influencer@example.com", "influencer")
salon = sign_in("py-salon@example.com", "salon")

form = OnboardInfluencerForm(
    bio="Beauty", categories=["beauty", "travel"], region="tokyo", age=27, gender="FEMALE", profile_pic=picture()
)
onboarded = expect(OnboardInfluencerResponse, onboard_influencer.sync(client=influencer, body=form))
assert onboarded.influencer.profile_pic and onboarded.influencer.categories == ["beauty", "travel"]
business = SalonForm(business_name="Salon Sakura", description="Hair and nails", preferred_categories=["beauty"])
expect(OnboardSalonResponse, onboard_salon.sync(client=salon, body=business))

found = expect(ListInfluencersResponse, list_influencers.sync(client=salon, categories=["beauty"]))
[person] = [each for each in found.data if each.user.name == "influencer"]
ask = NewRequest(receiver_id=person.user.id, message="Hello")
asked = expect(RequestConnectionResponse, request_connection.sync(client=salon, body=ask))
assert expect(ConflictError, request_connection.sync(client=salon, body=ask)).code == "CONFLICT"
accepted = expect(AcceptRequestResponse, accept_request.sync(asked.data.id, client=influencer))
conversation = expect(UUID, accepted.conversation_id)

upload = upload_attachment.sync(conversation, client=salon, body=UploadAttachmentForm(file=picture()))
attachment = expect(UploadAttachmentResponse, upload).data
message = NewMessage(content="Would Friday suit you?", message_type="IMAGE", file_url=attachment.file_url)
sent = expect(SendMessageResponse, send_message.sync(conversation, client=salon, body=message))
news = expect(ListNotificationsResponse, list_notifications.sync(client=influencer))
assert any(each.type_ == "NEW_MESSAGE" and each.message_id == sent.data.id for each in news.data)
text = NewMessage(content="Friday is fine")
plain = expect(SendMessageResponse, send_message.sync(conversation, client=influencer, body=text)).data
assert (plain.content, plain.message_type) == ("Friday is fine", "TEXT")
read = expect(ListMessagesResponse, list_messages.sync(conversation, client=influencer))
assert (read.data[-2].file_url, read.data[-1].id) == (attachment.file_url, plain.id)
print("done")
