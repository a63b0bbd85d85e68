export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        AccountMetadata: {
            /** Format: uuid */
            accountId: string;
            platform: components["schemas"]["Platform"];
            /** @enum {string} */
            reason: "UNVERIFIED" | "NEEDS_RECONNECT" | "PROVEN_BY_ANOTHER";
        };
        Attachment: {
            fileUrl: string;
            fileName: string;
            fileSize: number;
            messageType: components["schemas"]["MessageType"];
        };
        /** @enum {string} */
        Category: "beauty" | "lifestyle" | "fashion" | "fitness" | "food" | "travel" | "technology" | "gaming" | "wellness" | "parenting" | "pets" | "photography";
        /** @enum {string} */
        Gender: "MALE" | "FEMALE" | "NON_BINARY" | "PREFER_NOT_TO_SAY";
        Influencer: {
            /** Format: uuid */
            id: string;
            phoneNo: string | null;
            emailVerified: boolean;
            bio: string | null;
            profilePic: string | null;
            categories: components["schemas"]["Category"][];
            region: string | null;
            age: number | null;
            gender: components["schemas"]["Gender"] | null;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            updatedAt: string;
            /** Format: uuid */
            userId: string;
        };
        Message: {
            /** Format: uuid */
            id: string;
            /** Format: uuid */
            conversationId: string;
            /** Format: uuid */
            senderId: string;
            seq: number;
            rev: number;
            clientMessageId: string | null;
            content: string;
            messageType: components["schemas"]["MessageType"];
            fileUrl: string | null;
            fileName: string | null;
            fileSize: number | null;
            isEdited: boolean;
            isDeleted: boolean;
            deletedAt: string | null;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            updatedAt: string;
            sender: components["schemas"]["SenderUser"];
        };
        MessageDeleted: {
            /** Format: uuid */
            conversationId: string;
            /** Format: uuid */
            messageId: string;
            seq: number;
            rev: number;
        };
        MessageRead: {
            /** Format: uuid */
            conversationId: string;
            /** Format: uuid */
            userId: string;
            seq: number;
            /** Format: date-time */
            readAt: string;
        };
        /** @enum {string} */
        MessageType: "TEXT" | "IMAGE" | "FILE";
        NewMessageMetadata: {
            /** Format: uuid */
            senderId: string;
            senderName: string;
            count: number;
        };
        Notification: {
            /** Format: uuid */
            id: string;
            type: components["schemas"]["NotificationType"];
            title: string;
            message: string;
            isRead: boolean;
            connectionRequestId: string | null;
            messageId: string | null;
            conversationId: string | null;
            metadata: string | null;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            updatedAt: string;
            /** Format: uuid */
            userId: string;
        };
        NotificationRead: {
            notificationId: string | null;
            unreadCount: number;
            /** @constant */
            all?: true;
        };
        NotificationReceived: {
            notification: components["schemas"]["Notification"];
            unreadCount: number;
        };
        /** @enum {string} */
        NotificationType: "CONNECTION_REQUEST" | "CONNECTION_ACCEPTED" | "CONNECTION_REJECTED" | "NEW_MESSAGE" | "MESSAGE_REPLY" | "PROFILE_VIEW" | "SYSTEM";
        Picture: {
            profilePic: string | null;
        };
        /** @enum {string} */
        Platform: "INSTAGRAM" | "TIKTOK";
        ProfileViewMetadata: {
            /** Format: uuid */
            viewerId: string;
        };
        Ready: {
            /** Format: uuid */
            userId: string;
            /** Format: uuid */
            sessionId: string;
            heartbeatMs: number;
            unreadNotifications: number;
            unreadMessages: number;
        };
        /** @enum {string} */
        Role: "INFLUENCER" | "SALON" | "ADMIN";
        Salon: {
            /** Format: uuid */
            id: string;
            phoneNo: string | null;
            emailVerified: boolean;
            businessName: string | null;
            description: string | null;
            profilePic: string | null;
            preferredCategories: components["schemas"]["Category"][];
            region: string | null;
            website: string | null;
            establishedYear: number | null;
            teamSize: number | null;
            operatingHours: string | null;
            instagramHandle: string | null;
            tiktokHandle: string | null;
            facebookPage: string | null;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            updatedAt: string;
            /** Format: uuid */
            userId: string;
        };
        SenderUser: {
            /** Format: uuid */
            id: string;
            name: string;
            influencer: components["schemas"]["Picture"] | null;
            salon: components["schemas"]["Picture"] | null;
        };
        SignedInUser: {
            /** Format: uuid */
            id: string;
            name: string;
            email: string;
            role: components["schemas"]["Role"];
            status: components["schemas"]["UserStatus"];
            termsAccepted: boolean;
            termsAcceptedAt: string | null;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            updatedAt: string;
            influencer: components["schemas"]["Influencer"] | null;
            salon: components["schemas"]["Salon"] | null;
            hasCompletedOnboarding: boolean;
        };
        UserOnline: {
            /** Format: uuid */
            userId: string;
            lastSeenAt: string | null;
        };
        /** @enum {string} */
        UserStatus: "ACTIVE" | "SUSPENDED";
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
