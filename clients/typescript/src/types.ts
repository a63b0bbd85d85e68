// Types of the data that the server sends, from the generated description.

import type { components } from "./generated.js";

type Schemas = components["schemas"];
export type Message = Schemas["Message"];
export type Deletion = Schemas["MessageDeleted"];
export type Read = Schemas["MessageRead"];
export type Notification = Schemas["Notification"];
export type Attachment = Schemas["Attachment"];
export type SignedInUser = Schemas["SignedInUser"];
export type Presence = Schemas["UserOnline"] & { online: boolean };
export type NotificationEvent =
  | ({ kind: "received" | "updated" } & Schemas["NotificationReceived"])
  | ({ kind: "read" | "deleted" } & Schemas["NotificationRead"]);
