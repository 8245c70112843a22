//! What a terminal shows, as a picture.

use std::fmt::Write;

use super::{COLUMNS, LAST, Look, ROWS};

/// A character cell's size.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 18.0;
/// Room around the text.
const MARGIN: f64 = 14.0;

/// How characters look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Style {
    color: Option<&'static str>,
    bold: bool,
    dim: bool,
}

/// A run of characters that look alike.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    column: usize,
    text: String,
    style: Style,
}

/// What a terminal shows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    rows: Vec<Vec<Span>>,
}

impl Frame {
    /// Reads what `tmux capture-pane -e` prints.
    pub fn read(shown: &str) -> Self {
        let mut style = Style::default();
        let rows = shown.lines().take(ROWS).map(|line| row(line, &mut style));
        Self {
            rows: rows.collect(),
        }
    }
}

fn row(line: &str, style: &mut Style) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut column = 0;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\x1b' {
            let code: String = rest.by_ref().skip(1).take_while(|c| *c != 'm').collect();
            obey(&code, style);
            continue;
        }
        match spans.last_mut() {
            Some(last) if last.style == *style => last.text.push(c),
            _ => spans.push(Span {
                column,
                text: c.to_string(),
                style: style.clone(),
            }),
        }
        column += 1;
    }
    spans.retain(|span| !span.text.trim().is_empty());
    spans
}

fn obey(code: &str, style: &mut Style) {
    for number in code.split(';') {
        match number {
            "1" => style.bold = true,
            "2" => style.dim = true,
            "22" => (style.bold, style.dim) = (false, false),
            "31" => style.color = Some("#e06c75"),
            "32" => style.color = Some("#98c379"),
            "33" => style.color = Some("#e5c07b"),
            "36" => style.color = Some("#56b6c2"),
            "39" => style.color = None,
            "0" | "" => *style = Style::default(),
            _ => {}
        }
    }
}

/// The moving picture. Rows that are shown again and again are drawn once.
pub fn svg(looks: &[Look]) -> String {
    let total = looks.last().map_or(1.0, |l| (l.since + LAST).as_secs_f64());
    let (width, height) = (
        COLUMNS as f64 * WIDTH + 2.0 * MARGIN,
        ROWS as f64 * HEIGHT + 2.0 * MARGIN,
    );
    let mut drawn = Drawn::default();
    let mut frames = String::new();
    for (at, look) in looks.iter().enumerate() {
        let begin = look.since.as_secs_f64();
        let end = looks
            .get(at + 1)
            .map_or(total, |next| next.since.as_secs_f64());
        frame(&mut frames, &mut drawn, &look.frame, [begin, end, total]);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace,Menlo,Consolas,monospace\" font-size=\"14\" fill=\"#d7dae0\">\n\
         <style>.f{{visibility:hidden}}.b{{font-weight:bold}}.d{{opacity:.55}}text{{white-space:pre}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1e2127\"/>\n\
         <defs>\n{}</defs>\n{frames}</svg>\n",
        drawn.definitions
    )
}

/// The rows drawn so far.
#[derive(Default)]
struct Drawn {
    numbers: std::collections::HashMap<String, usize>,
    definitions: String,
}

impl Drawn {
    /// The number of a row.
    fn row(&mut self, spans: &[Span]) -> usize {
        let markup: String = spans.iter().map(text).collect();
        let next = self.numbers.len();
        match self.numbers.get(&markup) {
            Some(number) => *number,
            None => {
                // Writing to a string does not fail.
                let _ = writeln!(self.definitions, "<g id=\"r{next}\">{markup}</g>");
                self.numbers.insert(markup, next);
                next
            }
        }
    }
}

/// One frame, shown from `begin` to `end` of each round of `total` seconds.
fn frame(out: &mut String, drawn: &mut Drawn, frame: &Frame, [begin, end, total]: [f64; 3]) {
    let (from, to) = (begin / total, end / total);
    let _ = write!(
        out,
        "<g class=\"f\"><animate attributeName=\"visibility\" dur=\"{total:.2}s\" repeatCount=\"indefinite\" \
         calcMode=\"discrete\" values=\"hidden;visible;hidden\" keyTimes=\"0;{from:.4};{to:.4}\"/>"
    );
    for (number, row) in frame.rows.iter().enumerate() {
        if !row.is_empty() {
            let y = MARGIN + (number as f64 + 0.75) * HEIGHT;
            let _ = write!(out, "<use href=\"#r{}\" y=\"{y:.0}\"/>", drawn.row(row));
        }
    }
    out.push_str("</g>\n");
}

/// A span's markup, on a row at the top.
fn text(span: &Span) -> String {
    let blanks = span.text.chars().take_while(|c| *c == ' ').count();
    let x = MARGIN + (span.column + blanks) as f64 * WIDTH;
    let words = span.text.trim();
    let length = words.chars().count() as f64 * WIDTH;
    let fill = span
        .style
        .color
        .map_or(String::new(), |c| format!(" fill=\"{c}\""));
    let class = match (span.style.bold, span.style.dim) {
        (true, _) => " class=\"b\"",
        (_, true) => " class=\"d\"",
        _ => "",
    };
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text x=\"{x:.0}\" textLength=\"{length:.0}\"{fill}{class}>{words}</text>")
}
