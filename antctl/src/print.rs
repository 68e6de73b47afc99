//! Printing: a table for people, JSON and YAML for the rest. A reader that has read enough ends it quietly.

use std::io::{self, Write};

use serde::Serialize;

use crate::command::Output;

/// Columns and rows.
pub struct Table {
    /// In capitals, as Antrea's antctl writes them.
    pub columns: &'static [&'static str],
    /// As many cells as columns each.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Every column as wide as its widest cell, the last as long as it is.
    pub fn text(&self) -> String {
        let header: Vec<String> = self.columns.iter().map(|&column| column.to_owned()).collect();
        let lines = || std::iter::once(&header).chain(&self.rows);
        let widths: Vec<usize> = (0..header.len())
            .map(|column| lines().map(|line| line[column].chars().count()).max().unwrap_or_default())
            .collect();
        lines().fold(String::new(), |mut text, line| {
            for (cell, width) in line.iter().zip(&widths) {
                text += &format!("{cell:<width$}   ");
            }
            text.truncate(text.trim_end().len());
            text + "\n"
        })
    }
}

/// Why nothing was printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// Standard output is gone for another reason than a reader that has read enough.
    #[error("the answer cannot be written: {0}")]
    Output(#[from] io::Error),
    /// A bug: answers are plain data.
    #[error("the answer cannot be written as {0}: {1}")]
    Format(&'static str, String),
}

/// Prints an answer.
///
/// # Errors
/// Standard output does not take it.
pub fn print<T: Serialize>(answer: &T, output: Output, table: impl FnOnce(&T) -> Table) -> Result<(), PrintError> {
    let text = match output {
        Output::Table => table(answer).text(),
        Output::Json => {
            let text = serde_json::to_string_pretty(answer);
            text.map_err(|error| PrintError::Format("JSON", error.to_string()))? + "\n"
        }
        Output::Yaml => {
            let text = serde_saphyr::to_string(answer);
            text.map_err(|error| PrintError::Format("YAML", error.to_string()))?
        }
    };
    write(&mut io::stdout().lock(), &text)
}

/// Writes all of it, or as much as the reader wants.
fn write(out: &mut impl Write, text: &str) -> Result<(), PrintError> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// Items with commas, as many as fit `width`, then how many more there are.
pub fn some(items: &[String], width: usize) -> String {
    let mut text = String::new();
    for (number, item) in items.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        if number > 0 && text.len() + item.len() + 1 > width {
            return format!("{text} + {} more...", items.len() - number);
        }
        text += comma;
        text += item;
    }
    if text.is_empty() { "<NONE>".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = vec![vec!["a".to_owned(), "long".to_owned()], vec!["longer".to_owned(), "b".to_owned()]];
        let table = Table { columns: &["ONE", "TWO"], rows };
        assert_eq!(table.text(), "ONE      TWO\na        long\nlonger   b\n");
    }

    #[test]
    fn long_lists_say_how_much_is_left_out() {
        let items: Vec<String> = ["one", "two", "three"].map(str::to_owned).to_vec();
        assert_eq!(some(&items, 100), "one,two,three");
        assert_eq!(some(&items, 8), "one,two + 1 more...");
        assert_eq!(some(&items, 1), "one + 2 more...");
        assert_eq!(some(&[], 1), "<NONE>");
    }

    #[test]
    fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is() {
        struct Fails(io::ErrorKind);
        impl Write for Fails {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(write(&mut Fails(io::ErrorKind::BrokenPipe), "x").is_ok());
        assert!(write(&mut Fails(io::ErrorKind::StorageFull), "x").is_err());
    }
}
