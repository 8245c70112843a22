//! The little of XML that metalinks are written in: elements, attributes, text.
//!
//! Document types are refused, so there are no entities but those that are always there,
//! and nothing grows while it is read.

use std::str::FromStr;

/// How deep elements may be nested.
const MAX_DEPTH: usize = 32;
/// The most attributes of an element.
const MAX_ATTRIBUTES: usize = 32;

/// What is read next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// An element begins.
    Open(&'a str, Vec<(&'a str, String)>),
    /// Text in it; there may be more of it.
    Text(String),
    /// The element that began last ends.
    Close,
}

/// Why a text is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadXml {
    /// Where, from 1 on.
    pub line: usize,
    /// What is wrong.
    pub why: &'static str,
}

/// That there is no element at the beginning.
pub(crate) const NO_ELEMENT: &str = "it must begin with an element";

type Result<T> = std::result::Result<T, &'static str>;

/// A document that is being read.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    text: &'a str,
    at: usize,
    open: Vec<&'a str>,
    begun: bool,
    /// An element that was closed where it began.
    empty: bool,
}

impl<'a> Document<'a> {
    /// Begins to read.
    pub(crate) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            text,
            at: 0,
            open: Vec::new(),
            begun: false,
            empty: false,
        }
    }

    /// The next event; `None` at the end of the document.
    ///
    /// # Errors
    /// What is there is no XML, or more of it than is taken.
    pub(crate) fn next(&mut self) -> std::result::Result<Option<Event<'a>>, BadXml> {
        self.step().map_err(|why| BadXml {
            line: 1 + self.text[..self.at].matches('\n').count(),
            why,
        })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Passes over a text that comes next, if it does.
    fn take(&mut self, text: &str) -> bool {
        let comes = self.rest().starts_with(text);
        if comes {
            self.at += text.len();
        }
        comes
    }

    /// What comes before a mark, which is passed over.
    fn until(&mut self, mark: &str, why: &'static str) -> Result<&'a str> {
        let rest = self.rest();
        let len = rest.find(mark).ok_or(why)?;
        self.at += len + mark.len();
        Ok(&rest[..len])
    }

    fn step(&mut self) -> Result<Option<Event<'a>>> {
        if std::mem::take(&mut self.empty) {
            return Ok(Some(self.close()));
        }
        loop {
            if self.rest().is_empty() {
                return self.end();
            }
            if self.take("<!--") {
                self.until("-->", "a comment does not end")?;
            } else if self.take("<?") {
                self.until("?>", "an instruction does not end")?;
            } else if self.take("<![CDATA[") {
                let text = self.until("]]>", "a section does not end")?;
                if let Some(text) = self.text_here(text.to_owned())? {
                    return Ok(Some(text));
                }
            } else if self.take("<!") {
                return Err("document types are not taken");
            } else if self.take("</") {
                return self.closing().map(Some);
            } else if self.take("<") {
                return self.opening().map(Some);
            } else {
                let rest = self.rest();
                let len = rest.find('<').unwrap_or(rest.len());
                let text = self.text_here(unescaped(&rest[..len])?)?;
                self.at += len;
                if text.is_some() {
                    return Ok(text);
                }
            }
        }
    }

    fn end(&self) -> Result<Option<Event<'a>>> {
        match (self.open.is_empty(), self.begun) {
            (true, true) => Ok(None),
            (true, false) => Err(NO_ELEMENT),
            (false, _) => Err("it ends in the middle of an element"),
        }
    }

    /// Text, where it may be; blanks between elements of the top are nothing.
    fn text_here(&self, text: String) -> Result<Option<Event<'a>>> {
        match (self.open.is_empty(), text.trim().is_empty()) {
            (false, _) => Ok(Some(Event::Text(text))),
            (true, true) => Ok(None),
            (true, false) if self.begun => Err("there is text after its end"),
            (true, false) => Err(NO_ELEMENT),
        }
    }

    fn close(&mut self) -> Event<'a> {
        self.open.pop();
        Event::Close
    }

    fn closing(&mut self) -> Result<Event<'a>> {
        let name = self.name()?;
        self.blanks();
        if !self.take(">") || self.open.last() != Some(&name) {
            return Err("an element ends that did not begin");
        }
        Ok(self.close())
    }

    fn opening(&mut self) -> Result<Event<'a>> {
        if self.open.is_empty() && self.begun {
            return Err("there is an element after its end");
        }
        if self.open.len() >= MAX_DEPTH {
            return Err("elements are nested too deep");
        }
        let name = self.name()?;
        let mut attributes: Vec<(&str, String)> = Vec::new();
        loop {
            let apart = self.blanks();
            if self.take("/>") {
                self.empty = true;
                break;
            }
            if self.take(">") {
                break;
            }
            if !apart || attributes.len() >= MAX_ATTRIBUTES {
                return Err("what belongs to an element cannot be read");
            }
            let (key, value) = self.attribute()?;
            if attributes.iter().any(|(known, _)| *known == key) {
                return Err("an attribute is there twice");
            }
            attributes.push((key, value));
        }
        self.begun = true;
        self.open.push(name);
        Ok(Event::Open(name, attributes))
    }

    fn attribute(&mut self) -> Result<(&'a str, String)> {
        let key = self.name()?;
        self.blanks();
        if !self.take("=") {
            return Err("an attribute has no value");
        }
        self.blanks();
        let quote = match (self.take("\""), self.take("'")) {
            (true, _) => "\"",
            (_, true) => "'",
            _ => return Err("a value has no quotes"),
        };
        let value = self.until(quote, "a value does not end")?;
        match value.contains('<') {
            true => Err("a value does not end"),
            false => Ok((key, unescaped(value)?)),
        }
    }

    fn name(&mut self) -> Result<&'a str> {
        let rest = self.rest();
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
        let len = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !rest.starts_with(first) {
            return Err("a name is missing");
        }
        self.at += len;
        Ok(&rest[..len])
    }

    /// Passes over blanks; whether there were any.
    fn blanks(&mut self) -> bool {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.at += rest.len() - trimmed.len();
        rest.len() > trimmed.len()
    }
}

/// A text with what it writes as `&…;`.
fn unescaped(text: &str) -> Result<String> {
    const BAD: &str = "an entity is not known";
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split('&');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (entity, after) = part.split_once(';').ok_or(BAD)?;
        plain.push(match entity {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "apos" => '\'',
            "quot" => '"',
            other => number(other).ok_or(BAD)?,
        });
        plain.push_str(after);
    }
    Ok(plain)
}

/// The character that `#N` or `#xN` means.
fn number(entity: &str) -> Option<char> {
    let digits = entity.strip_prefix('#')?;
    let code = match digits.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => u32::from_str(digits),
    };
    char::from_u32(code.ok()?).filter(|c| *c != '\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<String, BadXml> {
        let mut document = Document::new(text);
        let mut said = String::new();
        while let Some(event) = document.next()? {
            match event {
                Event::Open(name, attributes) => {
                    said += &format!("<{name}");
                    for (key, value) in attributes {
                        said += &format!(" {key}={value}");
                    }
                    said += ">";
                }
                Event::Text(text) => said += &text,
                Event::Close => said += "</>",
            }
        }
        Ok(said)
    }

    #[test]
    fn documents() {
        let cases = [
            ("<a/>", "<a></>"),
            (
                "\u{feff}<?xml version='1.0'?>\n<a>x</a >\n<!-- end -->",
                "<a>x</>",
            ),
            (
                "<a b = 'c' d:e=\"&lt;'&#65;&#x42;\"/>",
                "<a b=c d:e=<'AB></>",
            ),
            (
                "<a>1 &amp; 2<b><![CDATA[<&]]></b></a>",
                "<a>1 & 2<b><&</></>",
            ),
            ("<a><!-- <b> --><b/></a>", "<a><b></></>"),
        ];
        for (text, want) in cases {
            assert_eq!(read(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        let deep = "<a>".repeat(33);
        let cases = [
            ("", NO_ELEMENT),
            ("bacon\n", NO_ELEMENT),
            ("<!-- no -->", NO_ELEMENT),
            ("<a>", "middle"),
            ("<a></b>", "did not begin"),
            ("</a>", "did not begin"),
            ("<a/><b/>", "after its end"),
            ("<a/>text", "after its end"),
            ("<a b=c/>", "quotes"),
            ("<a b='1' b='2'/>", "twice"),
            ("<a b='1'c='2'/>", "cannot be read"),
            ("<a b='<'/>", "does not end"),
            ("<a b/>", "no value"),
            ("<1/>", "name"),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "document types"),
            ("<a>&b;</a>", "entity"),
            ("<a>&#0;</a>", "entity"),
            ("<a>&</a>", "entity"),
            ("<a><!-- ", "comment"),
            (&deep, "too deep"),
        ];
        for (text, why) in cases {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
        assert_eq!(read("<a>\n\n<b></a>").unwrap_err().line, 3);
    }
}
