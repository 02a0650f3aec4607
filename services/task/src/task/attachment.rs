//! Attachments: accepted files, and their keys in the object store.

use std::time::Duration;

use baton_errors::{Error, Reason, Result};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Maximum number of attachments of a task, including incomplete ones.
pub(crate) const MAX_ATTACHMENTS_PER_TASK: i64 = 100;
/// Lifetime of an upload URL.
pub(crate) const UPLOAD_URL_TTL: Duration = Duration::from_secs(15 * 60);
/// Time to complete an upload after its URL has expired: a slow client may have started in time.
pub(crate) const COMPLETION_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Lifetime of a download URL.
pub(crate) const DOWNLOAD_URL_TTL: Duration = Duration::from_secs(5 * 60);
/// Prefix of all keys.
pub(crate) const KEY_PREFIX: &str = "accounts";
/// Content type of a download whose own type is not in [`SAFE_CONTENT_TYPES`].
const FALLBACK_CONTENT_TYPE: &str = "application/octet-stream";

/// Content types that downloads keep. No browser executes any of them, even if it displays them.
const SAFE_CONTENT_TYPES: &[&str] = &[
    "application/gzip",
    "application/json",
    "application/msword",
    "application/pdf",
    "application/rtf",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/x-7z-compressed",
    "application/x-tar",
    "application/zip",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/heic",
    "image/jpeg",
    "image/png",
    "image/tiff",
    "image/webp",
    "text/calendar",
    "text/csv",
    "text/markdown",
    "text/plain",
    "video/mp4",
    "video/quicktime",
    "video/webm",
];

/// Limits of this installation.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) max_bytes: i32,
    /// Accepted types; [`SAFE_CONTENT_TYPES`] when empty.
    pub(crate) content_types: Vec<String>,
}

/// A file that a client announces.
#[derive(Debug, Clone)]
pub(crate) struct AnnouncedFile {
    pub(crate) file_name: String,
    pub(crate) content_type: String,
    pub(crate) size_bytes: i32,
    pub(crate) checksum: Vec<u8>,
}

/// A file attached to a task.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) task_id: Uuid,
    pub(crate) uploaded_by: Uuid,
    pub(crate) file_name: String,
    pub(crate) content_type: String,
    pub(crate) size_bytes: i32,
    pub(crate) checksum: Vec<u8>,
    /// The verified object; `None` until the upload is completed.
    pub(crate) object_id: Option<Uuid>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
}

impl Limits {
    /// Checks that the file is accepted.
    ///
    /// # Errors
    /// ATTACHMENT_TYPE_NOT_ALLOWED, ATTACHMENT_TOO_LARGE.
    pub(crate) fn check(&self, file: &AnnouncedFile) -> Result<()> {
        let taken = if self.content_types.is_empty() {
            SAFE_CONTENT_TYPES.contains(&file.content_type.as_str())
        } else {
            self.content_types.contains(&file.content_type)
        };
        if !taken {
            return Err(Reason::AttachmentTypeNotAllowed.into());
        }
        if file.size_bytes > self.max_bytes {
            return Err(Error::from(Reason::AttachmentTooLarge).with("limit", self.max_bytes.to_string()));
        }
        Ok(())
    }
}

impl Attachment {
    /// Prefix of the attachment's keys.
    pub(crate) fn key_prefix(&self) -> String {
        key_prefix(self.account_id, self.id)
    }

    /// The key that the client uploads to.
    pub(crate) fn upload_key(&self) -> String {
        format!("{}/upload", self.key_prefix())
    }

    /// The key of verified content. No client can write it.
    pub(crate) fn object_key(&self, object_id: Uuid) -> String {
        format!("{}/{object_id}", self.key_prefix())
    }

    /// Content type of downloads.
    pub(crate) fn response_content_type(&self) -> &str {
        if SAFE_CONTENT_TYPES.contains(&self.content_type.as_str()) {
            &self.content_type
        } else {
            FALLBACK_CONTENT_TYPE
        }
    }

    /// Whether content of this size and checksum is the announced one.
    pub(crate) fn matches(&self, size: u64, checksum: &[u8]) -> bool {
        u64::try_from(self.size_bytes) == Ok(size) && self.checksum == checksum
    }
}

/// Prefix of an attachment's keys.
pub(crate) fn key_prefix(account_id: Uuid, id: Uuid) -> String {
    format!("{}/attachments/{id}", account_key_prefix(account_id))
}

/// Prefix of an account's keys.
pub(crate) fn account_key_prefix(account_id: Uuid) -> String {
    format!("{KEY_PREFIX}/{account_id}")
}

/// Attachment id and last segment of a key; `None` for a foreign key.
pub(crate) fn parse_key(key: &str) -> Option<(Uuid, &str)> {
    let mut parts = key.strip_prefix(KEY_PREFIX)?.strip_prefix('/')?.split('/');
    let (_account, "attachments", id, last, None) =
        (parts.next()?.parse::<Uuid>().ok()?, parts.next()?, parts.next()?, parts.next()?, parts.next())
    else {
        return None;
    };
    Some((id.parse().ok()?, last))
}

/// Parses a hexadecimal SHA-256. Its length and digits were validated when the message was decoded.
pub(crate) fn checksum(hex: &str) -> Result<Vec<u8>> {
    let byte = |at| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    bytes.ok_or_else(|| Error::invalid("checksum_sha256", "must be hexadecimal"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str, content_type: &str, size_bytes: i32) -> AnnouncedFile {
        AnnouncedFile {
            file_name: name.to_owned(),
            content_type: content_type.to_owned(),
            size_bytes,
            checksum: vec![0; 32],
        }
    }

    fn limits(content_types: &[&str]) -> Limits {
        Limits { max_bytes: 100, content_types: content_types.iter().map(|&t| t.to_owned()).collect() }
    }

    #[test]
    fn types_and_sizes_are_checked() {
        let check = |types, kind, size| limits(types).check(&file("a", kind, size)).map_err(|error| error.reason());
        assert_eq!(check(&[], "image/png", 0), Ok(()));
        assert_eq!(check(&[], "image/png", 100), Ok(()));
        assert_eq!(check(&[], "image/png", 101), Err(Reason::AttachmentTooLarge));
        for kind in
            ["text/html", "image/svg+xml", "application/xhtml+xml", "text/javascript", "application/x-sh", "a/b"]
        {
            assert_eq!(check(&[], kind, 1), Err(Reason::AttachmentTypeNotAllowed), "{kind}");
        }
        assert_eq!(check(&["text/html"], "text/html", 1), Ok(()));
        assert_eq!(check(&["text/html"], "image/png", 1), Err(Reason::AttachmentTypeNotAllowed));
    }

    pub(crate) fn attachment(content_type: &str) -> Attachment {
        Attachment {
            id: Uuid::from_u128(2),
            account_id: Uuid::from_u128(1),
            task_id: Uuid::from_u128(3),
            uploaded_by: Uuid::from_u128(4),
            file_name: "a".to_owned(),
            content_type: content_type.to_owned(),
            size_bytes: 3,
            checksum: vec![7; 32],
            object_id: None,
            created_at: DateTime::UNIX_EPOCH,
            expires_at: DateTime::UNIX_EPOCH,
            completed_at: None,
        }
    }

    #[test]
    fn unsafe_types_are_served_as_octet_stream() {
        assert_eq!(attachment("text/html").response_content_type(), "application/octet-stream");
        assert_eq!(attachment("image/png").response_content_type(), "image/png");
        for content_type in SAFE_CONTENT_TYPES {
            assert!(!["html", "xml", "svg", "script"].iter().any(|bad| content_type.ends_with(bad)), "{content_type}");
        }
    }

    #[test]
    fn keys_contain_ids_only_and_parse_back() {
        let attachment = attachment("image/png");
        assert_eq!(
            attachment.upload_key(),
            "accounts/00000000-0000-0000-0000-000000000001/attachments/00000000-0000-0000-0000-000000000002/upload"
        );
        assert_eq!(parse_key(&attachment.upload_key()), Some((attachment.id, "upload")));
        let object_id = Uuid::from_u128(9);
        assert_eq!(parse_key(&attachment.object_key(object_id)), Some((attachment.id, object_id.to_string().as_str())));
        let other = attachment.upload_key();
        for key in ["", "accounts", "accounts/x/attachments/y/upload", "other", &format!("{other}/x"), &other[9..]] {
            assert_eq!(parse_key(key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn checksums_parse_in_either_case(bytes in any::<[u8; 32]>(), upper: bool) {
            let hex: String =
                bytes.iter().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") }).collect();
            prop_assert_eq!(checksum(&hex).unwrap(), bytes.to_vec());
        }

        #[test]
        fn arbitrary_text_is_no_key(key in ".{0,80}") {
            prop_assert_eq!(parse_key(&key), None);
        }
    }
}
