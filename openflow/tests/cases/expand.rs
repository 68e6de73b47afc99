//! The short form in which `ovs-ofctl dump-table-features` lists fields: `tun_{id,ipv6_{src,dst},metadata0...metadata63}`.

/// All names of a list separated by spaces.
pub fn names(list: &str) -> Vec<String> {
    list.split_whitespace().flat_map(|word| word_names(word.trim_end_matches(','))).collect()
}

fn word_names(word: &str) -> Vec<String> {
    let Some(open) = word.find('{') else { return range(word) };
    let (head, rest) = word.split_at(open);
    let inner = rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(rest);
    parts(inner).flat_map(word_names).map(|name| format!("{head}{name}")).collect()
}

/// Splits at commas outside of braces.
fn parts(inner: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    inner.split(move |letter| {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    })
}

/// `reg0...reg15` is sixteen names.
fn range(word: &str) -> Vec<String> {
    let Some((first, last)) = word.split_once("...") else { return vec![word.to_owned()] };
    let stem = first.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let number = |name: &str| name.strip_prefix(stem).and_then(|number| number.parse::<u32>().ok());
    match (number(first), number(last)) {
        (Some(first), Some(last)) => (first..=last).map(|number| format!("{stem}{number}")).collect(),
        _ => vec![word.to_owned()],
    }
}
