//! What the words of a database say, which MLflow hands on as if the request were wrong (HTTP 400, `BAD_REQUEST`).
//!
//! MLflow does so with everything SQLAlchemy raises but one kind. Who is to blame is decided by the kind, whose mark
//! SQLAlchemy puts behind its words, and not by the words, in which our own values stand:
//! - an IntegrityError: somebody else wrote the same row, or took away what it belongs to. What is there now is looked up;
//!   what stays refused after a few tries is about the write, and becomes a dead letter;
//! - a DataError: the value is not to this database's liking, and never will be;
//! - anything else (a standby that only reads, a table that is not there yet, a connection that is gone, a pool that is
//!   empty, a file that is damaged): the database is in trouble. The values of an event are never part of a statement's
//!   text, so that no event brings these about: they are waited for, as any outage, and poison no run.

/// What stands before SQLAlchemy's mark of a kind: `<version>/<mark>` follows.
const LINK: &str = "sqlalche.me/e/";
/// Its marks of the two kinds that are about the write.
const INTEGRITY: &str = "gkpj";
const DATA: &str = "9h9h";
/// How databases say that somebody else wrote the same row first, for words without a mark.
const RACE_WORDS: [&str; 4] = ["IntegrityError", "UNIQUE constraint", "Duplicate entry", "duplicate key"];

/// What a database complains of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Complaint {
    /// Somebody else was faster.
    Race,
    /// The value.
    Data,
    /// Itself.
    Itself,
}

/// What a database complains of in these words; `None` when it is MLflow that speaks.
pub(super) fn complaint(words: &str) -> Option<Complaint> {
    match mark(words) {
        Some(INTEGRITY) => Some(Complaint::Race),
        Some(DATA) => Some(Complaint::Data),
        Some(_) => Some(Complaint::Itself),
        None => RACE_WORDS.iter().any(|race| words.contains(race)).then_some(Complaint::Race),
    }
}

/// The mark of a kind, which is the last that is said.
fn mark(words: &str) -> Option<&str> {
    let (_, behind) = words.trim_end().strip_suffix(')')?.rsplit_once(LINK)?;
    let (_version, mark) = behind.split_once('/')?;
    (!mark.is_empty() && mark.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As SQLAlchemy says it.
    fn said(words: &str, mark: &str) -> String {
        let values = "{'key': 'duplicate key', 'value': 'IntegrityError https://sqlalche.me/e/20/gkpj)'}";
        let statement =
            format!("[SQL: INSERT INTO params (key, value) VALUES (%s, %s)] [parameters: {values}]");
        format!("{words} {statement} (Background on this error at: https://sqlalche.me/e/20/{mark})")
    }

    #[test]
    fn the_kind_decides_whatever_values_are_quoted() {
        let cases = [
            ("(psycopg2.errors.UniqueViolation) duplicate key value", "gkpj", Complaint::Race),
            ("(psycopg2.errors.ForeignKeyViolation) violates foreign key", "gkpj", Complaint::Race),
            ("(psycopg2.errors.NumericValueOutOfRange) out of range", "9h9h", Complaint::Data),
            ("(pymysql.err.DataError) (1406, \"Data too long for column 'value'\")", "9h9h", Complaint::Data),
            ("(psycopg2.errors.ReadOnlySqlTransaction) read-only", "2j85", Complaint::Itself),
            (
                "(psycopg2.errors.UndefinedTable) relation \"params\" does not exist",
                "f405",
                Complaint::Itself,
            ),
            ("(psycopg2.InterfaceError) connection already closed", "rvf5", Complaint::Itself),
            ("(sqlite3.DatabaseError) database disk image is malformed", "4xp6", Complaint::Itself),
            (
                "QueuePool limit of size 5 overflow 10 reached, connection timed out",
                "3o7r",
                Complaint::Itself,
            ),
            ("Can't reconnect until invalid transaction is rolled back.", "8s2b", Complaint::Itself),
            ("This Session's transaction has been rolled back", "7s2a", Complaint::Itself),
        ];
        for (words, mark, complains_of) in cases {
            assert_eq!(complaint(&said(words, mark)), Some(complains_of), "{words}");
        }
    }

    #[test]
    fn words_without_a_mark_are_mlflow_s_unless_they_tell_of_a_race() {
        let race = "(sqlite3.IntegrityError) UNIQUE constraint failed: params.key, params.run_uuid";
        assert_eq!(complaint(race), Some(Complaint::Race));
        for words in ["Invalid value", "see https://sqlalche.me/e/20/4xp6", "(sqlalche.me/e/20)", ""] {
            assert_eq!(complaint(words), None, "{words}");
        }
    }
}
