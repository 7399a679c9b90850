use super::*;

fn given(url: &str) -> BrokerArgs {
    BrokerArgs { nats_url: Some(url.to_owned()), ..BrokerArgs::default() }
}

fn chosen(args: &BrokerArgs) -> BrokerTarget {
    args.choose(NatsContext::default(), None).unwrap()
}

fn login(user: &str, password: &str) -> Credentials {
    Credentials::UserPassword { user: user.to_owned(), password: password.to_owned() }
}

fn stack() -> Endpoints {
    let nats = "nats://cerebros:pw@127.0.0.1:4333".to_owned();
    Endpoints { nats, mlflow: None, dashboard: None, pid: 1, version: String::new() }
}

fn context(url: &str) -> NatsContext {
    serde_json::from_value(serde_json::json!({"url": url, "user": "u", "password": "p"})).unwrap()
}

#[test]
fn a_url_that_was_given_stands_above_everything() {
    let target = given("nats://a:1").choose(context("nats://b:2"), Some(&stack())).unwrap();
    assert_eq!(target.url, "nats://a:1");
    assert_eq!(target.credentials, login("u", "p"), "the context still says who we are");
}

#[test]
fn then_the_context_then_the_stack_then_the_default() {
    let nothing = BrokerArgs::default();
    assert_eq!(nothing.choose(context("nats://b:2"), Some(&stack())).unwrap().origin, "the nats context");
    let local = nothing.choose(NatsContext::default(), Some(&stack())).unwrap();
    assert_eq!((local.url.as_str(), local.origin), ("nats://127.0.0.1:4333", "the running local stack"));
    assert_eq!(local.credentials, login("cerebros", "pw"));
    assert_eq!((chosen(&nothing).url.as_str(), chosen(&nothing).origin), (DEFAULT_URL, "the default"));
}

#[test]
fn credentials_leave_the_url() {
    let target = chosen(&given("nats://me:p%40ss@a:1, b:2"));
    assert_eq!(target.url, "nats://a:1,nats://b:2");
    assert_eq!(target.credentials, login("me", "p@ss"));
    assert_eq!(target.servers().len(), 2);
}

#[test]
fn debug_shows_no_secret() {
    let args = BrokerArgs { nats_password: Some("s3cret".to_owned()), ..given("nats://me:s3cret@a:1") };
    assert!(!format!("{args:?}").contains("s3cret"));
    assert!(!format!("{:?}", chosen(&given("nats://me:s3cret@a:1"))).contains("s3cret"));
    assert!(!format!("{:?}", Credentials::NkeySeed("s3cret".to_owned())).contains("s3cret"));
}

#[test]
fn a_url_that_is_none_is_refused_without_being_quoted() {
    for url in [
        "",
        " , ",
        "http://a:1",
        "ws://a:1",
        "nats://",
        "nats://me:s3cret@",
        "nats://a:notaport",
        "token@a:1",
        "nats://a:1?token=s3cret",
        "nats://a:1/?token=s3cret",
    ] {
        let error = given(url).choose(NatsContext::default(), None).unwrap_err();
        assert_eq!((error.code, error.exit), ("nats-url-invalid", Exit::Usage), "{url}");
        assert!(!error.to_string().contains("s3cret"));
    }
}

#[test]
fn two_ways_to_say_who_we_are_are_one_too_many() {
    let both = BrokerArgs {
        nats_creds: Some("a.creds".into()),
        nats_user: Some("u".to_owned()),
        ..BrokerArgs::default()
    };
    let error = both.choose(NatsContext::default(), None).unwrap_err();
    assert_eq!((error.code, error.exit), ("nats-credentials-conflict", Exit::Usage));
    let lone = BrokerArgs { nats_password: Some("p".to_owned()), ..BrokerArgs::default() };
    assert_eq!(lone.choose(NatsContext::default(), None).unwrap_err().code, "nats-user-missing");
}

#[test]
fn a_seed_is_read_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("user.nk");
    std::fs::write(&path, "# mine\nSUAEXAMPLE\n").unwrap();
    let args = BrokerArgs { nats_nkey: Some(path.clone()), ..BrokerArgs::default() };
    assert_eq!(chosen(&args).credentials, Credentials::NkeySeed("SUAEXAMPLE".to_owned()));
    std::fs::write(&path, "nothing").unwrap();
    assert_eq!(args.choose(NatsContext::default(), None).unwrap_err().exit, Exit::Permission);
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let args = BrokerArgs { nats_cert: Some("c.pem".into()), ..BrokerArgs::default() };
    assert_eq!(args.choose(NatsContext::default(), None).unwrap_err().code, "nats-cert-incomplete");
}
