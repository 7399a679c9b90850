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
    now.schemas[1].text = now.schemas[1].text.replace("run_id", "run");
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
