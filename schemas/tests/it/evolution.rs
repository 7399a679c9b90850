//! The rules of growth, each broken once.

use schemas::evolution::{Candidate, Finding, Published, Rule, alterations, check};
use schemas::record::Version;
use serde_json::{Value, json};

fn published() -> Vec<Candidate> {
    Version::all()
        .map(|version| Candidate {
            record: version.record.name().to_owned(),
            version: version.number,
            text: version.text.to_owned(),
        })
        .collect()
}

fn base() -> Value {
    json!({"type": "record", "name": "Thing", "namespace": "a", "doc": "d", "fields": [
        {"name": "id", "doc": "d", "type": "string"},
        {"name": "count", "doc": "d", "type": "int", "default": 0},
        {"name": "at", "doc": "d", "type": {"type": "long", "logicalType": "timestamp-micros"}, "default": 0},
        {"name": "state", "doc": "d", "type": {"type": "enum", "name": "State", "doc": "d", "symbols": ["on", "off"]}},
        {"name": "note", "doc": "d", "type": ["null", "string"], "default": null},
        {"name": "inner", "doc": "d", "type": {"type": "record", "name": "Inner", "doc": "d", "fields": [
            {"name": "x", "doc": "d", "type": "double", "default": 1.5}]}, "default": {"x": 1.5}}
    ]})
}

fn field<'a>(schema: &'a mut Value, name: &str) -> &'a mut Value {
    schema["fields"].as_array_mut().unwrap().iter_mut().find(|field| field["name"] == name).unwrap()
}

fn versions(schemas: &[&Value]) -> Vec<Finding> {
    let candidate = |(number, schema): (u32, &&Value)| Candidate {
        record: "Thing".into(),
        version: number,
        text: schema.to_string(),
    };
    check(&(1..).zip(schemas).map(candidate).collect::<Vec<_>>())
}

/// Rules and fields a second version breaks.
fn broken_by(change: impl FnOnce(&mut Value)) -> Vec<(Rule, String)> {
    let mut next = base();
    change(&mut next);
    let findings = versions(&[&base(), &next]);
    findings.into_iter().map(|finding| (finding.rule, finding.field)).collect()
}

fn add(schema: &mut Value, field: Value) {
    schema["fields"].as_array_mut().unwrap().push(field);
}

#[test]
fn everything_that_was_published_keeps_every_rule() {
    assert_eq!(check(&published()), []);
}

#[test]
fn a_field_with_a_default_may_come_and_go_and_fields_may_change_places() {
    let mut next = base();
    add(&mut next, json!({"name": "more", "doc": "d", "type": ["null", "long"], "default": null}));
    next["fields"].as_array_mut().unwrap().reverse();
    let mut third = next.clone();
    third["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "count");
    assert_eq!(versions(&[&base(), &next, &third]), []);
}

#[test]
fn each_break_is_named_by_rule_and_field() {
    type Break = (&'static str, fn(&mut Value), Rule, &'static str);
    let breaks: [Break; 17] = [
        (
            "added",
            |s| add(s, json!({"name": "new", "doc": "d", "type": "long"})),
            Rule::FieldAddedWithoutDefault,
            "new",
        ),
        (
            "removed",
            |s| s["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "id"),
            Rule::FieldRemovedWithoutDefault,
            "id",
        ),
        ("retyped", |s| field(s, "id")["type"] = "long".into(), Rule::TypeChanged, "id"),
        ("widened", |s| field(s, "count")["type"] = "long".into(), Rule::TypeChanged, "count"),
        (
            "unit",
            |s| field(s, "at")["type"]["logicalType"] = "timestamp-millis".into(),
            Rule::LogicalTypeChanged,
            "at",
        ),
        ("renamed type", |s| field(s, "inner")["type"]["name"] = "Other".into(), Rule::NameChanged, "inner"),
        ("renamed record", |s| s["name"] = "Other".into(), Rule::NameChanged, ""),
        (
            "symbol added",
            |s| field(s, "state")["type"]["symbols"] = json!(["on", "off", "broken"]),
            Rule::EnumSymbolUnknown,
            "state",
        ),
        (
            "symbol removed",
            |s| field(s, "state")["type"]["symbols"] = json!(["on"]),
            Rule::EnumSymbolUnknown,
            "state",
        ),
        (
            "branch added",
            |s| field(s, "note")["type"] = json!(["null", "string", "long"]),
            Rule::UnionChanged,
            "note",
        ),
        ("made optional", |s| field(s, "id")["type"] = json!(["string", "null"]), Rule::UnionChanged, "id"),
        ("default changed", |s| field(s, "count")["default"] = 1.into(), Rule::DefaultChanged, "count"),
        (
            "inner default changed",
            |s| field(s, "inner")["type"]["fields"][0]["default"] = json!(2.5),
            Rule::DefaultChanged,
            "inner.x",
        ),
        ("alias", |s| field(s, "note")["aliases"] = json!(["remark"]), Rule::FieldAlias, "note"),
        (
            "undocumented",
            |s| drop(field(s, "note").as_object_mut().unwrap().remove("doc")),
            Rule::DocMissing,
            "note",
        ),
        (
            "two records in a union",
            |s| {
                let branch = |name| {
                    json!({"type": "record", "name": name, "doc": "d", "fields": [
                    {"name": "v", "doc": "d", "type": "long"}]})
                };
                let kind = json!(["null", branch("A"), branch("B")]);
                add(s, json!({"name": "either", "doc": "d", "type": kind, "default": null}));
            },
            Rule::AmbiguousUnion,
            "either",
        ),
        (
            "contains itself",
            |s| add(s, json!({"name": "child", "doc": "d", "type": ["null", "a.Thing"], "default": null})),
            Rule::RecursiveType,
            "child",
        ),
    ];
    for (name, change, rule, field) in breaks {
        let found = broken_by(change);
        assert!(
            found.contains(&(rule, field.to_owned())),
            "{name}: expected {rule} at {field}, found {found:?}"
        );
    }
}

#[test]
fn a_break_between_versions_that_are_not_neighbours_is_found() {
    let mut without = base();
    without["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "count");
    let mut back = base();
    field(&mut back, "count")["type"] = "string".into();
    field(&mut back, "count")["default"] = "".into();
    let findings = versions(&[&base(), &without, &back]);
    assert!(findings.iter().any(|finding| {
        (finding.rule, finding.version, finding.against) == (Rule::TypeChanged, 3, Some(1))
            && finding.field == "count"
    }));
    assert!(findings.iter().all(|finding| finding.against != Some(2)), "{findings:?}");
}

#[test]
fn two_versions_that_look_the_same_on_the_wire_are_found_as_is_a_gap() {
    let mut documented = base();
    documented["doc"] = "other words".into();
    assert_eq!(versions(&[&base(), &documented])[0].rule, Rule::VersionIndistinct);
    let third = Candidate { record: "Thing".into(), version: 3, text: base().to_string() };
    let rules: Vec<(Rule, u32)> =
        check(&[third]).into_iter().map(|finding| (finding.rule, finding.version)).collect();
    assert_eq!(rules, [(Rule::VersionGap, 1), (Rule::VersionGap, 2)]);
}

#[test]
fn what_was_published_may_be_explained_better_and_nothing_else() {
    let schemas = published();
    let golden = [
        ("trial_reported.v1/full.avro".to_owned(), vec![1, 2]),
        ("run_failed.v1/full.json".to_owned(), vec![3]),
    ];
    let then = Published { schemas: schemas.clone(), golden: golden.clone().into() };
    let mut now = then.clone();
    now.schemas[0].text = now.schemas[0].text.replace("Asks for one", "Asks for exactly one");
    assert_eq!(alterations(&then, &now), []);
    let cancel = now.schemas.iter_mut().find(|schema| schema.record == "RunCancelRequested").unwrap();
    cancel.text = cancel.text.replace("run_id", "run");
    now.schemas.pop();
    now.golden = golden.into_iter().take(1).map(|(place, _)| (place, vec![9])).collect();
    let found: Vec<(Rule, String, u32)> = alterations(&then, &now)
        .into_iter()
        .map(|finding| (finding.rule, finding.record, finding.version))
        .collect();
    assert_eq!(
        found,
        [
            (Rule::VersionAltered, "RunCancelRequested".to_owned(), 1),
            (Rule::VersionRemoved, "RunException".to_owned(), 1),
            (Rule::GoldenRemoved, "run_failed".to_owned(), 1),
            (Rule::GoldenAltered, "trial_reported".to_owned(), 1),
        ]
    );
}

#[test]
fn what_decodes_and_means_something_else_is_found_wherever_it_stands() {
    let with = |kind: Value| {
        let mut schema = base();
        add(&mut schema, json!({"name": "deep", "doc": "d", "type": kind, "default": null}));
        schema
    };
    let record = |default: f64, state: &str| {
        let state =
            json!({"type": "enum", "name": "Deep", "doc": "d", "symbols": ["p", "q"], "default": state});
        let fields = json!([{"name": "v", "doc": "d", "type": "double", "default": default},
            {"name": "s", "doc": "d", "type": state, "default": "p"}]);
        json!({"type": "record", "name": "In", "doc": "d", "fields": fields})
    };
    let list = |inner: Value| json!(["null", {"type": "array", "items": {"type": "map", "values": inner}}]);
    let findings = versions(&[&with(list(record(1.0, "p"))), &with(list(record(2.0, "q")))]);
    let found: Vec<(Rule, &str)> =
        findings.iter().map(|finding| (finding.rule, finding.field.as_str())).collect();
    assert_eq!(found[..2], [(Rule::DefaultChanged, "deep[]{}.s"), (Rule::DefaultChanged, "deep[]{}.v")]);
    let mut same = base();
    field(&mut same, "inner")["type"]["fields"][0]["default"] = json!(1.50);
    add(&mut same, json!({"name": "more", "doc": "d", "type": "double", "default": 0}));
    let mut again = same.clone();
    again["fields"].as_array_mut().unwrap().last_mut().unwrap()["default"] = json!(0.0);
    add(&mut again, json!({"name": "last", "doc": "d", "type": "long", "default": 0}));
    assert_eq!(versions(&[&same, &again]), [], "0 and 0.0 are the same double");
}

#[test]
fn text_that_became_bytes_and_names_that_are_defined_twice_are_found() {
    let bytes = broken_by(|schema| field(schema, "id")["type"] = "bytes".into());
    assert!(bytes.contains(&(Rule::TypeChanged, "id".to_owned())), "{bytes:?}");
    let twice = broken_by(|schema| {
        let other = json!({"type": "record", "name": "Inner", "doc": "d", "fields": [
            {"name": "y", "doc": "d", "type": "long", "default": 0}]});
        add(schema, json!({"name": "again", "doc": "d", "type": other, "default": {}}));
    });
    assert!(twice.iter().any(|(rule, _)| *rule == Rule::SchemaUnreadable), "{twice:?}");
    let ambiguous = broken_by(|schema| {
        add(
            schema,
            json!({"name": "either", "doc": "d", "type": ["null", "int", "double"], "default": null}),
        );
    });
    assert!(ambiguous.contains(&(Rule::AmbiguousUnion, "either".to_owned())), "{ambiguous:?}");
    let default = broken_by(|schema| {
        add(schema, json!({"name": "wrong", "doc": "d", "type": ["string", "null"], "default": null}));
    });
    assert!(!default.is_empty(), "a union's default belongs to its first branch");
}

#[test]
fn the_proof_on_data_finds_what_the_rust_library_reads_otherwise() {
    let branch = |name: &str| json!({"type": "record", "name": name, "doc": "d", "fields": [{"name": "v", "doc": "d", "type": "long"}]});
    let schema = json!({"type": "record", "name": "Thing", "namespace": "a", "doc": "d", "fields": [
        {"name": "either", "doc": "d", "type": [branch("A"), branch("B")]}]});
    let shape = schemas::shape::parse(&schema.to_string()).unwrap().shape;
    let faults = schemas::evolution::probe::prove(&shape, &shape);
    assert!(faults.iter().any(|fault| fault.rule == Rule::DecodeDisagrees), "{faults:?}");
}

#[test]
fn a_default_is_a_value_whatever_its_members_are_called() {
    let schema = |word: &str| {
        json!({"type": "record", "name": "a.T", "doc": "d", "fields": [
        {"name": "m", "doc": "d", "type": {"type": "map", "values": "string"}, "default": {"doc": word}}]})
    };
    let state = |word: &str| Published {
        schemas: vec![Candidate { record: "T".into(), version: 1, text: schema(word).to_string() }],
        ..Published::default()
    };
    assert_eq!(alterations(&state("one"), &state("two"))[0].rule, Rule::VersionAltered);
}
