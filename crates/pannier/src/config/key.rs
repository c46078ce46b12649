//! One key: its name, what it takes, and what it sets.
//!
//! A value reaches a key as TOML (from a file) or as text (from a flag or a variable). Both become
//! the same [`Value`] before the key judges it, so that a setting means the same wherever it
//! stands.

use std::fmt;

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A whole number within bounds, both included.
    Number(u64, u64),
    /// `true` or `false`.
    Flag,
    /// Text.
    Text,
    /// Several texts: a list in a file; in a flag or variable one text, parted by commas, or
    /// `none`.
    List,
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::Flag => f.write_str("true or false"),
            Self::Text => f.write_str("text"),
            Self::List => f.write_str("a list of texts"),
        }
    }
}

/// A value of the right kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// See [`Takes::Number`].
    Number(u64),
    /// See [`Takes::Flag`].
    Flag(bool),
    /// See [`Takes::Text`].
    Text(String),
    /// See [`Takes::List`].
    List(Vec<String>),
}

impl Value {
    /// The number; 0 of anything else, which [`Takes`] has ruled out.
    pub const fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Flag(_) | Self::Text(_) | Self::List(_) => 0,
        }
    }

    /// Whether it is `true`.
    pub const fn flag(&self) -> bool {
        matches!(self, Self::Flag(true))
    }

    /// The text; nothing of anything else.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number(_) | Self::Flag(_) | Self::List(_) => "",
        }
    }

    /// The texts; none of anything else.
    pub fn list(&self) -> &[String] {
        match self {
            Self::List(list) => list,
            Self::Number(_) | Self::Flag(_) | Self::Text(_) => &[],
        }
    }
}

/// As it would stand in a file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(list) => write!(f, "{list:?}"),
        }
    }
}

impl Takes {
    /// From a file.
    pub fn toml(self, value: &toml::Value) -> Option<Value> {
        match (self, value) {
            (Self::Number(least, most), toml::Value::Integer(number)) => u64::try_from(*number)
                .ok()
                .filter(|number| (least..=most).contains(number))
                .map(Value::Number),
            (Self::Flag, toml::Value::Boolean(flag)) => Some(Value::Flag(*flag)),
            (Self::Text, toml::Value::String(text)) => Some(Value::Text(text.clone())),
            (Self::List, toml::Value::Array(list)) => {
                let texts = list.iter().map(|item| item.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().map(Value::List)
            }
            _ => None,
        }
    }

    /// From a flag or a variable.
    pub fn words(self, text: &str) -> Option<Value> {
        match self {
            Self::Number(least, most) => {
                let number = text.trim().parse().ok();
                number.filter(|number| (least..=most).contains(number)).map(Value::Number)
            }
            Self::Flag => text.trim().parse().ok().map(Value::Flag),
            Self::Text => Some(Value::Text(text.to_owned())),
            Self::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let list: Vec<String> = items.map(str::to_owned).collect();
                Some(Value::List(if list == ["none"] { Vec::new() } else { list }))
            }
        }
    }
}

/// What a key does with its value; an error says what is wrong with the value.
type Setter<T> = Box<dyn Fn(&mut T, &Value) -> Result<(), String>>;

/// A key of settings of type `T`.
pub struct Key<T> {
    /// With its section: `protocol.gossip_us`.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    set: Setter<T>,
}

impl<T: 'static> Key<T> {
    /// A key whose value may be wrong in ways that [`Takes`] does not tell.
    pub fn new(
        name: &'static str,
        takes: Takes,
        set: impl Fn(&mut T, &Value) -> Result<(), String> + 'static,
    ) -> Self {
        Self { name, takes, set: Box::new(set) }
    }

    /// A whole number.
    pub fn number(name: &'static str, least: u64, most: u64, set: fn(&mut T, u64)) -> Self {
        let takes = Takes::Number(least, most);
        Self::new(name, takes, move |it, value| {
            set(it, value.number());
            Ok(())
        })
    }

    /// Sets it.
    pub fn set(&self, it: &mut T, value: &Value) -> Result<(), String> {
        (self.set)(it, value)
    }

    /// The same key of something that has a `T` in it.
    pub fn within<U: 'static>(self, part: fn(&mut U) -> &mut T) -> Key<U> {
        let set = self.set;
        Key::new(self.name, self.takes, move |it, value| set(part(it), value))
    }

    /// The variable that sets it.
    pub fn variable(&self) -> String {
        variable(self.name)
    }
}

/// The variable of a key: `protocol.gossip_us` is set by `PANNIER_PROTOCOL_GOSSIP_US`.
pub fn variable(key: &str) -> String {
    format!("PANNIER_{}", key.replace('.', "_").to_uppercase())
}

/// Each number sets something, and no two the same.
#[cfg(test)]
pub fn each_sets_its_own<T: Default + fmt::Debug + 'static>(keys: Vec<Key<T>>) {
    let defaults = format!("{:?}", T::default());
    let mut all = std::collections::BTreeSet::new();
    for key in keys {
        let Takes::Number(least, most) = key.takes else { continue };
        assert!(least < most, "{}", key.name);
        let mut settings = T::default();
        key.set(&mut settings, &Value::Number((least + (most - least) / 3) | 1)).unwrap();
        let set = format!("{settings:?}");
        assert_ne!(set, defaults, "{}", key.name);
        assert!(all.insert(set), "{}", key.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file says and what a flag says is one value.
    #[test]
    fn toml_and_words_agree() {
        let read = |text: &str| text.parse::<toml::Table>().unwrap()["x"].clone();
        let list = |items: &[&str]| Value::List(items.iter().map(|it| (*it).to_owned()).collect());
        for (takes, toml, words, value) in [
            (Takes::Number(1, 9), "x = 9", " 9 ", Some(Value::Number(9))),
            (Takes::Number(1, 9), "x = 0", "0", None),
            (Takes::Number(1, 9), "x = -1", "-1", None),
            (Takes::Number(1, 9), "x = \"5\"", "5.0", None),
            (Takes::Flag, "x = true", "true", Some(Value::Flag(true))),
            (Takes::Flag, "x = 1", "yes", None),
            (Takes::Text, "x = \"eu\"", "eu", Some(Value::Text("eu".into()))),
            (Takes::List, "x = [\"a\", \"b\"]", "a, b", Some(list(&["a", "b"]))),
            (Takes::List, "x = []", "none", Some(list(&[]))),
            (Takes::List, "x = []", "", Some(list(&[]))),
        ] {
            assert_eq!(takes.toml(&read(toml)), value, "{toml}");
            assert_eq!(takes.words(words), value, "{words}");
        }
        assert_eq!(Takes::List.toml(&read("x = [1]")), None);
        assert_eq!(Takes::Text.toml(&read("x = 1")), None);
    }

    #[test]
    fn what_a_value_prints_is_what_a_file_reads() {
        bolero::check!().with_type::<(u32, bool, String, Vec<String>)>().for_each(
            |(number, flag, text, list)| {
                for (takes, value) in [
                    (Takes::Number(0, u64::MAX), Value::Number((*number).into())),
                    (Takes::Flag, Value::Flag(*flag)),
                ] {
                    let table: toml::Table = format!("x = {value}").parse().unwrap();
                    assert_eq!(takes.toml(&table["x"]), Some(value));
                }
                // Text is printed for people; it reads back as long as it is plain.
                if text.chars().all(|c| c.is_ascii_graphic()) {
                    let value = Value::Text(text.clone());
                    let table: toml::Table = format!("x = {value}").parse().unwrap();
                    assert_eq!(Takes::Text.toml(&table["x"]), Some(value));
                }
                assert_eq!(Value::List(list.clone()).list(), list);
            },
        );
    }
}
