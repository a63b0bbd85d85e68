// From sign-up to notifications with the generated types: node journey.ts http://127.0.0.1:3000 picture.png
// It asks for the code of a mail by printing the line “code”, and reads the code from its input.
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.ts";

const [baseUrl, pictureFile] = process.argv.slice(2) as [string, string];
const picture = new Blob([await readFile(pictureFile)], { type: "image/png" });
const lines = createInterface({ input: process.stdin });
const answers = lines[Symbol.asyncIterator]();
const PASSWORD = "correct-horse-battery";

type Client = ReturnType<typeof createClient<paths>>;

function must<T>(answer: { data?: T; error?: { code: string; message: string } }): T {
  if (answer.error || answer.data === undefined) throw new Error(answer.error?.message ?? "no answer");
  return answer.data;
}

function check(fact: boolean, what: string): void {
  if (!fact) throw new Error(what);
}

// A form from the fields of a body; a list is a repeated name.
function toForm(body: object): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(body))
    for (const each of Array.isArray(value) ? value : [value])
      form.append(name, each instanceof Blob ? each : String(each));
  return form;
}

async function code(): Promise<string> {
  console.log("code");
  return String((await answers.next()).value);
}

async function signIn(email: string, kind: "influencer" | "salon"): Promise<Client> {
  const client = createClient<paths>({ baseUrl });
  const account: components["schemas"]["SignUpForm"] = { name: kind, email, password: PASSWORD, termsAccepted: true };
  const signedUp = must(await client.POST(`/api/v1/auth/signup/${kind}`, { body: account }));
  const { signUpToken } = signedUp.data;
  const early = await client.POST("/api/v1/auth/login", { body: { email, password: PASSWORD } });
  // The code tells which fields an error has.
  check(early.error?.code === "EMAIL_NOT_VERIFIED" && early.error.email === email, "signed in without the code");
  must(await client.POST("/api/v1/auth/verify-otp", { body: { email, otp: await code(), signUpToken } }));
  const { accessToken } = must(await client.POST("/api/v1/auth/login", { body: { email, password: PASSWORD } }));
  return createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${accessToken}` } });
}

const influencer = await signIn("ts-influencer@example.com", "influencer");
const salon = await signIn("ts-salon@example.com", "salon");

const onboarded = must(
  await influencer.POST("/api/v1/onboarding/influencer", {
    body: { bio: "Beauty", categories: ["beauty", "travel"], region: "tokyo", age: 27, gender: "FEMALE", profilePic: picture },
    bodySerializer: toForm,
  }),
);
check(onboarded.influencer.profilePic !== null && onboarded.influencer.categories.length === 2, "not onboarded");
must(
  await salon.POST("/api/v1/onboarding/salon", {
    body: { businessName: "Salon Sakura", description: "Hair and nails", preferredCategories: ["beauty"] },
  }),
);

const found = must(await salon.GET("/api/v1/discovery/influencers", { params: { query: { categories: ["beauty"] } } }));
const person = found.data.find((each) => each.user.name === "influencer");
check(person !== undefined && !found.pageInfo.hasMore, "not discovered");
const asked = must(
  await salon.POST("/api/v1/connections/request", { body: { receiverId: person!.user.id, message: "Hello" } }),
);
const again = await salon.POST("/api/v1/connections/request", { body: { receiverId: person!.user.id } });
check(again.error?.code === "CONFLICT", "asked twice");
const { conversationId } = must(
  await influencer.PATCH("/api/v1/connections/requests/{id}/accept", { params: { path: { id: asked.data.id } } }),
);

const path = { conversationId: conversationId! };
const attachment = must(
  await salon.POST("/api/v1/chat/conversations/{conversationId}/attachments", {
    params: { path },
    body: { file: picture },
    bodySerializer: toForm,
  }),
).data;
const sent = must(
  await salon.POST("/api/v1/chat/conversations/{conversationId}/messages", {
    params: { path },
    body: { content: "Would Friday suit you?", messageType: "IMAGE", fileUrl: attachment.fileUrl },
  }),
);
const news = must(await influencer.GET("/api/v1/notifications"));
check(news.data.some((each) => each.type === "NEW_MESSAGE" && each.messageId === sent.data.id), "not notified");
const plain = must(
  await influencer.POST("/api/v1/chat/conversations/{conversationId}/messages", {
    params: { path },
    body: { content: "Friday is fine" },
  }),
).data;
check(plain.content === "Friday is fine" && plain.messageType === "TEXT", "no plain text");
const read = must(await influencer.GET("/api/v1/chat/conversations/{conversationId}/messages", { params: { path } }));
check(read.data.at(-2)?.fileUrl === attachment.fileUrl && read.data.at(-1)?.id === plain.id, "not read");
lines.close();
console.log("done");
