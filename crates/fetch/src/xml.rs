//! The little of XML that metalinks are written in: elements, attributes, text.
//!
//! `quick-xml` reads it, piece by piece, and this bounds it. Document types are refused,
//! so there are no entities but those that are always there, and nothing grows while it
//! is read.

use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::escape::unescape;
use quick_xml::events::attributes::AttrError;
use quick_xml::events::{BytesStart, Event as Piece};
use quick_xml::{Reader, events::attributes::Attribute};

/// How deep elements may be nested.
const MAX_DEPTH: usize = 32;
/// The most attributes of an element.
const MAX_ATTRIBUTES: usize = 32;

/// What is read next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An element begins.
    Open(String, Vec<(String, String)>),
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
const NO_ELEMENT: &str = "it must begin with an element";
/// That it says what its elements are, or what names stand for.
const DOCUMENT_TYPE: &str = "document types are not taken";
/// That a name stands for what is not known.
const ENTITY: &str = "an entity is not known";
/// That the last element does not end.
const CUT: &str = "it ends in the middle of an element";

type Result<T> = std::result::Result<T, &'static str>;

/// A document that is being read.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    depth: usize,
    begun: bool,
}

impl<'a> Document<'a> {
    /// Begins to read.
    pub(crate) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader::from_str(text);
        // An element without content ends like any other.
        reader.config_mut().expand_empty_elements = true;
        Self {
            text,
            reader,
            depth: 0,
            begun: false,
        }
    }

    /// The next event; `None` at the end of the document.
    ///
    /// # Errors
    /// What is there is no XML, or more of it than is taken.
    pub(crate) fn next(&mut self) -> std::result::Result<Option<Event>, BadXml> {
        self.step().map_err(|why| {
            let at = usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX);
            let before = self.text.get(..at).unwrap_or(self.text);
            let line = 1 + before.matches('\n').count();
            BadXml { line, why }
        })
    }

    fn step(&mut self) -> Result<Option<Event>> {
        loop {
            let text = match self.reader.read_event().map_err(|e| why(&e))? {
                Piece::Start(start) | Piece::Empty(start) => return self.open(&start).map(Some),
                Piece::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Some(Event::Close));
                }
                Piece::Text(text) => text.into_inner().into_owned(),
                Piece::CData(text) => text.into_inner().into_owned(),
                Piece::GeneralRef(name) => plain(&format!("&{};", name.into_inner()))?,
                Piece::DocType(_) => return Err(DOCUMENT_TYPE),
                Piece::Comment(_) | Piece::PI(_) | Piece::Decl(_) => continue,
                Piece::Eof => return self.end(),
            };
            if self.is_content(&text)? {
                return Ok(Some(Event::Text(text)));
            }
        }
    }

    fn end(&self) -> Result<Option<Event>> {
        match (self.depth, self.begun) {
            (0, true) => Ok(None),
            (0, false) => Err(NO_ELEMENT),
            _ => Err(CUT),
        }
    }

    /// Whether text is an element's; blanks outside the first element are nothing.
    fn is_content(&self, text: &str) -> Result<bool> {
        match (self.depth, text.trim().is_empty()) {
            (1.., _) => Ok(true),
            (0, true) => Ok(false),
            (0, false) if self.begun => Err("there is text after its end"),
            (0, false) => Err(NO_ELEMENT),
        }
    }

    fn open(&mut self, start: &BytesStart<'_>) -> Result<Event> {
        if self.depth == 0 && self.begun {
            return Err("there is an element after its end");
        }
        if self.depth >= MAX_DEPTH {
            return Err("elements are nested too deep");
        }
        let name = start.name().0.to_owned();
        if name.is_empty() {
            return Err("a name is missing");
        }
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let Attribute { key, value } = attribute.map_err(|e| why_of_attribute(&e))?;
            if attributes.len() >= MAX_ATTRIBUTES {
                return Err("an element has too many attributes");
            }
            attributes.push((key.0.to_owned(), plain(&value)?));
        }
        self.begun = true;
        self.depth += 1;
        Ok(Event::Open(name, attributes))
    }
}

/// A text with what it writes as `&…;`.
fn plain(text: &str) -> Result<String> {
    match unescape(text) {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(ENTITY),
    }
}

fn why(error: &Error) -> &'static str {
    match error {
        Error::Syntax(wrong) => match wrong {
            SyntaxError::UnclosedPI | SyntaxError::UnclosedXmlDecl => "an instruction does not end",
            SyntaxError::UnclosedComment => "a comment does not end",
            SyntaxError::UnclosedCData => "a section does not end",
            SyntaxError::UnclosedDoctype | SyntaxError::InvalidBangMarkup => DOCUMENT_TYPE,
            _ => "the beginning of an element does not end",
        },
        Error::IllFormed(wrong) => match wrong {
            IllFormedError::MismatchedEndTag { .. } | IllFormedError::UnmatchedEndTag(_) => {
                "an element ends that did not begin"
            }
            IllFormedError::MissingEndTag(_) => CUT,
            IllFormedError::MissingDoctypeName => DOCUMENT_TYPE,
            IllFormedError::UnclosedReference => ENTITY,
            _ => "it is not well-formed",
        },
        Error::InvalidAttr(wrong) => why_of_attribute(wrong),
        Error::Escape(_) => ENTITY,
        _ => "it cannot be read",
    }
}

fn why_of_attribute(error: &AttrError) -> &'static str {
    match error {
        AttrError::ExpectedEq(_) | AttrError::ExpectedValue(_) => "an attribute has no value",
        AttrError::UnquotedValue(_) => "a value has no quotes",
        AttrError::ExpectedQuote(..) => "a value does not end",
        AttrError::Duplicated(..) => "an attribute is there twice",
    }
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
        let many: String = (0..33).map(|n| format!(" a{n}=''")).collect();
        let many = format!("<a{many}/>");
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
            ("<a b='1/>", "does not end"),
            (&many, "too many attributes"),
            ("<a b/>", "no value"),
            ("< a/>", "name"),
            ("<!ELEMENT a ANY><a/>", "document types"),
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

    /// What makes other readers take minutes or gigabytes ends at a bound, or says no
    /// more than it is long.
    #[test]
    fn a_bomb_is_bounded() {
        let attributes: String = (0..100_000).map(|n| format!(" a{n}=''")).collect();
        let names: String = (0..40_000).map(|n| format!("<a xmlns:a{n}='x'>")).collect();
        let bombs = [
            (format!("<a{attributes}/>"), Some("too many attributes")),
            (names, Some("too deep")),
            ("<a>".repeat(300_000), Some("too deep")),
            (format!("<a>{}</a>", "&amp;".repeat(200_000)), None),
            (format!("<a>{}</a>", "<![CDATA[]]>".repeat(80_000)), None),
        ];
        for (bomb, refusal) in &bombs {
            match (read(bomb), refusal) {
                (Ok(said), None) => assert!(said.len() <= bomb.len()),
                (Err(e), Some(why)) => assert!(e.why.contains(why), "{}", e.why),
                (read, _) => panic!("{read:?} of {}…", &bomb[..20]),
            }
        }
    }
}
