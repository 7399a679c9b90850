//! The table, row by row.

use super::super::Disposition;
use super::*;

fn said(is_optional: bool, status: u16, body: &str) -> ClientError {
    let call = Call { is_optional, ..Call::needed("runs/create") };
    ClientError::answered(call, StatusCode::from_u16(status).unwrap(), None, body.as_bytes())
}

fn answered(status: u16, body: &str) -> ClientError {
    said(false, status, body)
}

fn json(code: &str, message: &str) -> String {
    serde_json::json!({"error_code": code, "message": message}).to_string()
}

const HTML: &str = "<!doctype html><title>Not yours</title>";

#[test]
fn a_refusal_carries_mlflow_s_words() {
    let error = answered(400, &json("INVALID_PARAMETER_VALUE", "because"));
    assert_eq!(error.disposition(), Disposition::Refuse);
    assert_eq!(error.to_string(), "MLflow refused runs/create with INVALID_PARAMETER_VALUE: because");
}

#[test]
fn only_a_4xx_with_mlflow_s_error_code_is_final() {
    for status in [400, 402, 403, 406, 410, 411, 414, 415, 417, 421, 422, 431, 451] {
        let coded = answered(status, &json("INVALID_PARAMETER_VALUE", "because"));
        assert!(matches!(coded, ClientError::Refused { .. }), "{coded}");
        for body in
            ["", HTML, "Permission denied", "{\"message\": \"no code\"}", "Invalid HTTP request received."]
        {
            let bare = answered(status, body);
            assert_eq!(bare.disposition(), Disposition::Wait(Duration::ZERO, Scope::Lane), "{bare}");
        }
    }
}

#[test]
fn a_server_in_trouble_is_waited_for_by_everybody() {
    for status in [408, 425, 429, 499, 502, 503, 504] {
        for body in [HTML.to_owned(), json("TEMPORARILY_UNAVAILABLE", "later")] {
            let error = answered(status, &body);
            assert!(matches!(error, ClientError::Outage { scope: Scope::All, .. }), "{error}");
        }
    }
}

#[test]
fn a_fault_inside_the_server_may_concern_one_write_alone() {
    for status in [409, 500, 505, 507, 520, 599] {
        let error = answered(status, &json("INTERNAL_ERROR", "oops"));
        assert!(matches!(error, ClientError::Outage { scope: Scope::Lane, .. }), "{error}");
    }
}

#[test]
fn who_asks_for_a_pause_asks_everybody() {
    let (pause, call) = (Duration::from_secs(3), Call::needed("runs/create"));
    let error = ClientError::answered(call, StatusCode::INTERNAL_SERVER_ERROR, Some(pause), b"");
    assert_eq!(error.disposition(), Disposition::Wait(pause, Scope::All));
}

#[test]
fn a_wrong_address_or_credential_is_nobody_s_event_s_fault() {
    let host = "Invalid Host header - possible DNS rebinding attack detected";
    let unauthenticated = json("UNAUTHENTICATED", "who are you?");
    let cases = [
        (403, host, "--allowed-hosts", Scope::All),
        (401, "You are not authenticated", "MLFLOW_TRACKING_TOKEN", Scope::All),
        (401, &unauthenticated, "MLFLOW_TRACKING_TOKEN", Scope::All),
        (404, HTML, "MLFLOW_TRACKING_URI", Scope::All),
        (405, HTML, "MLFLOW_TRACKING_URI", Scope::All),
        (501, HTML, "MLFLOW_TRACKING_URI", Scope::All),
        (302, "", "final address", Scope::All),
        (403, "Permission denied", "right to write", Scope::Lane),
        (400, HTML, "gateway", Scope::Lane),
    ];
    for (status, body, remedy, scope) in cases {
        let error = answered(status, body);
        assert!(
            matches!(&error, ClientError::Misconfigured { scope: says, .. } if *says == scope),
            "{error:?}"
        );
        assert!(error.to_string().contains(remedy), "{error}");
    }
}

#[test]
fn what_mlflow_s_own_guard_forbids_is_told_apart_from_a_page_in_between() {
    assert!(answered(403, "Permission denied").is_denied());
    for (status, body) in [(403, HTML), (403, "Invalid Host header"), (401, "Permission denied")] {
        assert!(!answered(status, body).is_denied(), "{status} {body}");
    }
}

#[test]
fn what_vanished_is_looked_up_again() {
    let error = answered(404, &json("RESOURCE_DOES_NOT_EXIST", "because"));
    assert_eq!(error.disposition(), Disposition::LookUp);
}

#[test]
fn what_exists_is_said_to_exist() {
    let error = answered(400, &json("RESOURCE_ALREADY_EXISTS", "because"));
    assert!(matches!(error, ClientError::Exists { .. }), "{error}");
}

#[test]
fn a_race_of_two_writers_is_looked_up_again_and_refused_by_nobody() {
    let races = [
        "(sqlite3.IntegrityError) UNIQUE constraint failed: params.key, params.run_uuid",
        "(pymysql.err.IntegrityError) (1062, \"Duplicate entry 'a' for key 'PRIMARY'\")",
        "duplicate key value violates unique constraint \"param_pk\"",
    ];
    for words in races {
        let error = answered(400, &json("BAD_REQUEST", words));
        assert!(matches!(error, ClientError::Conflict { .. }), "{error}");
        assert_eq!(error.disposition(), Disposition::Again);
    }
}

#[test]
fn a_database_in_trouble_is_no_event_s_fault_and_a_value_it_does_not_take_is() {
    let long = "x".repeat(2 * MAX_WORDS);
    let said = |words: &str, mark: &str| {
        let words =
            format!("{words}\n[SQL: {long}]\n(Background on this error at: https://sqlalche.me/e/21/{mark})");
        answered(400, &json("BAD_REQUEST", &words))
    };
    let trouble = said("(psycopg2.errors.ReadOnlySqlTransaction) cannot execute INSERT", "2j85");
    assert_eq!(trouble.disposition(), Disposition::Wait(Duration::ZERO, Scope::Lane), "{trouble}");
    assert!(trouble.to_string().contains("database is in trouble"), "{trouble}");
    let data = said("(psycopg2.errors.StringDataRightTruncation) value too long", "9h9h");
    assert!(matches!(data, ClientError::Refused { .. }), "{data}");
    let race = said("(psycopg2.errors.UniqueViolation) key value", "gkpj");
    assert_eq!(race.disposition(), Disposition::Again, "{race}");
}

#[test]
fn what_a_person_deleted_is_refused_with_the_remedy() {
    let words = "The run a1 must be in the 'active' state. Current state is deleted.";
    let error = answered(400, &json("INVALID_PARAMETER_VALUE", words));
    assert!(matches!(error, ClientError::Deleted { .. }), "{error}");
    assert_eq!(error.disposition(), Disposition::Refuse);
    assert!(error.to_string().contains("mlflow runs restore"), "{error}");
}

#[test]
fn what_is_too_large_is_told_apart_from_what_is_wrong() {
    for body in [HTML.to_owned(), json("BAD_REQUEST", "too large")] {
        assert!(matches!(answered(413, &body), ClientError::TooLarge { .. }));
    }
}

#[test]
fn a_part_of_the_interface_the_server_does_not_have_is_done_without() {
    let disabled = "Endpoint disabled due to the mlflow server running without `--serve-artifacts`";
    for (status, body) in [(404, HTML), (405, HTML), (501, ""), (503, disabled)] {
        assert!(matches!(said(true, status, body), ClientError::Unsupported { .. }), "{status}");
        assert!(!matches!(answered(status, body), ClientError::Unsupported { .. }), "{status}");
    }
    let missing = said(true, 404, &json("RESOURCE_DOES_NOT_EXIST", "no such run"));
    assert!(matches!(missing, ClientError::Missing { .. }), "{missing}");
    assert!(matches!(said(true, 503, "busy"), ClientError::Outage { .. }));
}

#[test]
fn an_answer_that_is_not_mlflow_s_is_waited_for() {
    let error = ClientError::not_mlflow("runs/create", &"EOF while parsing");
    assert_eq!(error.disposition(), Disposition::Wait(Duration::ZERO, Scope::All));
    assert!(error.to_string().contains("MLFLOW_TRACKING_URI"), "{error}");
}

#[test]
fn a_workspace_the_server_does_not_have_is_nobody_s_fault_and_said() {
    for (status, code, words) in [
        (
            500,
            "FEATURE_DISABLED",
            "Workspace APIs are not available: workspaces are not enabled on this server",
        ),
        (404, "RESOURCE_DOES_NOT_EXIST", "Workspace 'team' not found"),
        (400, "INVALID_PARAMETER_VALUE", "Workspace name 'a b' must match the pattern"),
    ] {
        let error = answered(status, &json(code, words));
        assert_eq!(error.disposition(), Disposition::Wait(Duration::ZERO, Scope::All), "{error}");
        assert!(error.to_string().contains("MLFLOW_WORKSPACE"), "{error}");
    }
}
