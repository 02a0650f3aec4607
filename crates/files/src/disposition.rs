//! The `Content-Disposition` header that makes a browser save a file (RFC 6266).

use std::fmt::Write as _;

/// The header value `attachment` with the name twice: in plain ASCII for old clients, and complete in UTF-8 (RFC 8187).
pub(crate) fn attachment(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%' | '/' | ';') { c } else { '_' })
        .collect();
    let mut header = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''");
    for byte in name.bytes() {
        // `attr-char` of RFC 8187, section 3.2.1.
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            header.push(byte.into());
        } else {
            let _ = write!(header, "%{byte:02X}");
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn name_is_sent_in_both_forms() {
        assert_eq!(
            attachment("Grüße \"x\".pdf"),
            "attachment; filename=\"Gr__e _x_.pdf\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%22x%22.pdf"
        );
    }

    proptest! {
        #[test]
        fn no_name_breaks_out_of_its_parameter(name in ".{0,60}") {
            let header = attachment(&name);
            prop_assert!(header.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{}", header);
            prop_assert_eq!(header.matches('"').count(), 2);
            prop_assert_eq!(header.matches(';').count(), 2);
            prop_assert!(http::HeaderValue::from_str(&header).is_ok());
        }
    }
}
