use proptest::prelude::*;

use super::super::Pool;
use super::*;

fn values(values: &[&str]) -> Box<[Text]> {
    values.iter().map(|value| Text::from(*value)).collect()
}

fn selector(tests: Vec<(&str, Operator)>) -> LabelSelector {
    LabelSelector::new(tests.into_iter().map(|(key, operator)| LabelTest { key: Text::from(key), operator }))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied(), &mut Pool::default())
}

#[test]
fn an_empty_selector_matches_everything() {
    assert!(selector(vec![]).matches(&labels(&[])));
    assert!(selector(vec![]).matches(&labels(&[("app", "web")])));
}

#[test]
fn not_in_matches_where_the_key_is_missing() {
    let not_web = selector(vec![("app", Operator::NotIn(values(&["web"])))]);
    assert!(not_web.matches(&labels(&[])));
    assert!(not_web.matches(&labels(&[("app", "api")])));
    assert!(!not_web.matches(&labels(&[("app", "web")])));
}

#[test]
fn not_in_with_exists_wants_the_key() {
    let other = selector(vec![("app", Operator::NotIn(values(&["web"]))), ("app", Operator::Exists)]);
    assert!(!other.matches(&labels(&[])));
    assert!(other.matches(&labels(&[("app", "api")])));
    assert_eq!(other.to_string(), "app exists-notin (web)");
}

#[test]
fn selectors_that_mean_the_same_are_equal() {
    let one = selector(vec![("b", Operator::Exists), ("a", Operator::In(values(&["2", "1", "2"])))]);
    let two = selector(vec![
        ("a", Operator::In(values(&["1", "2", "3"]))),
        ("a", Operator::NotIn(values(&["3"]))),
        ("b", Operator::Exists),
        ("b", Operator::Exists),
    ]);
    assert_eq!(one, two);
    assert_eq!(one.to_string(), "a in (1,2),b");
}

#[test]
fn contradictions_are_all_the_same_nothing() {
    let one = selector(vec![("a", Operator::Exists), ("a", Operator::DoesNotExist), ("z", Operator::Exists)]);
    let two = selector(vec![("b", Operator::In(values(&["1"]))), ("b", Operator::NotIn(values(&["1"])))]);
    assert_eq!(one, two);
    assert!(!one.matches(&labels(&[("a", "1"), ("z", "1")])));
    assert!(!one.matches(&labels(&[])));
}

fn operators() -> impl Strategy<Value = Operator> {
    let some = proptest::collection::vec(prop::sample::select(vec!["1", "2", "3"]), 1..3);
    let some = some.prop_map(|list| list.into_iter().map(Text::from).collect::<Box<[Text]>>());
    prop_oneof![
        some.clone().prop_map(Operator::In),
        some.prop_map(Operator::NotIn),
        Just(Operator::Exists),
        Just(Operator::DoesNotExist),
    ]
}

/// What a single requirement means, said again in the plainest way.
fn holds(operator: &Operator, value: Option<&str>) -> bool {
    match operator {
        Operator::In(values) => value.is_some_and(|value| values.iter().any(|held| held.as_str() == value)),
        Operator::NotIn(values) => value.is_none_or(|value| values.iter().all(|held| held.as_str() != value)),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::ExistsNotIn(_) | Operator::Never => unreachable!("not drawn"),
    }
}

proptest! {
    #[test]
    fn the_canonical_form_means_what_the_requirements_mean(
        drawn in proptest::collection::vec((prop::sample::select(vec!["a", "b"]), operators()), 0..5),
        a in prop::option::of(prop::sample::select(vec!["1", "2", "3", "4"])),
        b in prop::option::of(prop::sample::select(vec!["1", "2", "3", "4"])),
    ) {
        let pairs: Vec<(&str, &str)> = [a.map(|value| ("a", value)), b.map(|value| ("b", value))].into_iter().flatten().collect();
        let plain = drawn.iter().all(|(key, operator)| holds(operator, if *key == "a" { a } else { b }));
        prop_assert_eq!(selector(drawn).matches(&labels(&pairs)), plain);
    }
}
