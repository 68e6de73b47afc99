//! Label selectors.
//!
//! Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>

use std::collections::BTreeMap;

use apis::kubernetes::{LabelSelector, LabelSelectorRequirement};

use crate::{Construct, Reading};

impl Reading<'_> {
    /// Every requirement of both fields must hold; without any, everything is selected (API, LabelSelector).
    pub(crate) fn selector_matches(self, selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
        if selector.match_labels.is_empty() && selector.match_expressions.is_empty() {
            return self.knows(Construct::EmptySelector);
        }
        let label_fits = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        let labels_fit = !self.knows(Construct::MatchLabels) || selector.match_labels.iter().all(label_fits);
        labels_fit && selector.match_expressions.iter().all(|requirement| self.requirement_holds(requirement, labels))
    }

    fn requirement_holds(self, requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&requirement.key);
        let (construct, holds) = match requirement.operator.as_str() {
            "In" => (Construct::OperatorIn, value.is_some_and(|value| requirement.values.contains(value))),
            // What lacks the key is not in the values either (labels, *Set-based requirement*).
            "NotIn" => {
                let otherwise = self.knows(Construct::NotInMissingKey);
                let holds = value.map_or(otherwise, |value| !requirement.values.contains(value));
                (Construct::OperatorNotIn, holds)
            }
            "Exists" => (Construct::OperatorExists, value.is_some()),
            "DoesNotExist" => (Construct::OperatorDoesNotExist, value.is_none()),
            _ => return false,
        };
        holds || !self.knows(construct)
    }
}
