//! What may be shown of a secret: nothing, and of an address what is surely no part of one.
//!
//! Pure. A password may hold a comma, an @ and a question mark, so that where it ends is not known: of several addresses
//! those before the last login are masked with it. What is left is shown only if it looks like hosts, ports and paths.

use super::variables::Variable;

/// What stands for a secret.
pub(super) const MASK: &str = "********";
/// Schemes that are shown before a login. Whatever else stands there may be part of it.
const SCHEMES: [&str; 6] = ["nats", "tls", "ws", "wss", "http", "https"];

/// The value of a variable, fit to be shown.
pub(super) fn shown(variable: &Variable, value: &str) -> String {
    if !variable.secret {
        return value.to_owned();
    }
    if variable.key.ends_with("_url") || variable.key.ends_with("_uri") {
        address(value)
    } else {
        MASK.to_owned()
    }
}

/// Addresses, several with commas, without logins and without what follows a question mark or the like.
fn address(value: &str) -> String {
    let (login, query) = (value.rfind('@'), value.find(['?', '#', ';']));
    let masked = match value.split_once("://") {
        Some((scheme, _)) if SCHEMES.contains(&scheme) => format!("{scheme}://{MASK}"),
        Some(_) | None => MASK.to_owned(),
    };
    let (begin, end) = (login.map_or(0, |at| at + 1), query.unwrap_or(value.len()));
    let Some(open) = value.get(begin..end).filter(|open| open.split(',').all(is_address)) else {
        return masked;
    };
    let before = if login.is_some() { format!("{masked}@") } else { String::new() };
    let after = if query.is_some() { format!("?{MASK}") } else { String::new() };
    format!("{before}{open}{after}")
}

/// True for `host`, `host:port` and `scheme://host:port/path`.
fn is_address(text: &str) -> bool {
    let rest = match text.trim().split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => rest,
        Some(_) => return false,
        None => text.trim(),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port),
        None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
    };
    let is_of = |part: &str, others: &[u8]| {
        part.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let is_host = is_of(host, if authority.starts_with('[') { b":." } else { b".-_" });
    is_host && is_port && is_of(path, b"/.-_~+")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_without_secrets_is_shown_as_it_is() {
        for plain in [
            "nats://127.0.0.1:4222",
            "nats://a:1, tls://b.example:2,c",
            "http://[::1]:5000/mlflow/api-2.0",
            "file:///var/mlruns",
            "./mlruns",
            "text-1",
        ] {
            assert_eq!(address(plain), plain);
        }
    }

    #[test]
    fn what_is_surely_no_secret_is_shown_beside_one() {
        for (given, expected) in [
            ("nats://me:hunter2@a:1,nats://b", "nats://********@a:1,nats://b"),
            ("nats://a:1,nats://me:hunter2@b", "nats://********@b"),
            ("nats://me:hun,ter2@a:1", "nats://********@a:1"),
            ("http://host/path?token=hunter2", "http://host/path?********"),
            ("nats://me:hunter2@a:1?token=x", "nats://********@a:1?********"),
            ("me:hunter2@c", "********@c"),
            // Whoever forgot the host, or wrote the @ otherwise, gave a password all the same.
            ("nats://me:hunter2", "nats://********"),
            ("nats://me:hunter2%40c", "nats://********"),
            ("hunter://2@c", "********@c"),
            ("nats://me:1@hunter2!", "nats://********"),
        ] {
            assert_eq!(address(given), expected, "{given}");
        }
    }

    /// Characters a password may have, those that part an address above all.
    fn secret() -> impl Strategy<Value = String> {
        prop::collection::vec(prop_oneof!["[,@?#:/;=&%]", "[a-z0-9]{1,6}", "://", "nats://", "\\PC"], 1..12)
            .prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn no_part_of_a_secret_is_ever_shown(secret in secret()) {
            // What is shown is one of a few texts that are known without the secret.
            for (given, expected) in [
                (format!("nats://me:{secret}@host:1"), ["nats://********@host:1", "nats://********"]),
                (format!("nats://{secret}@host"), ["nats://********@host", "nats://********"]),
                (format!("me:{secret}@host"), ["********@host", "********"]),
                (format!("nats://a:1,tls://me:{secret}@b:2"), ["nats://********@b:2", "nats://********"]),
                (
                    format!("nats://me:{secret}@a:1,nats://me:{secret}@b:2"),
                    ["nats://********@b:2", "nats://********"],
                ),
                (format!("https://host/path?token={secret}"), ["https://host/path?********", "https://********"]),
                (format!("https://host/path#{secret}"), ["https://host/path?********", "https://********"]),
                (format!("nats://a:1,nats://b:2?token={secret}"), ["nats://a:1,nats://b:2?********", "nats://********"]),
                (
                    format!("nats://me:{secret}@a:1?token={secret}"),
                    ["nats://********@a:1?********", "nats://********"],
                ),
            ] {
                // A scheme in a secret may be one of the few that are shown.
                let shown = address(&given);
                let is_known = expected.contains(&shown.as_str())
                    || (given.starts_with("me:") && shown == MASK);
                prop_assert!(is_known, "{given} was shown as {shown}");
            }
        }
    }
}
