//! The few shapes of SVG that the picture is made of, written out as text.
//!
//! Whatever comes from outside (names, what happened) passes through [`escaped`]: an ampersand in a
//! name must not cost the whole picture.

use std::fmt::Write;

/// A place: right, and down.
pub type Point = (f64, f64);

/// Which end of a text is where it is put.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

impl Anchor {
    const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// Text that XML takes for text. What XML cannot say at all (most control characters) is replaced.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' | '\t' => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The same text in at most so many letters.
pub fn short(text: &str, letters: usize) -> String {
    match text.char_indices().nth(letters) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(letters.saturating_sub(1)).collect();
            format!("{kept}…")
        }
    }
}

/// What is drawn so far.
pub struct Canvas {
    svg: String,
}

// Writing to a string does not fail.
impl Canvas {
    /// Nothing yet, of this size.
    pub fn new(width: f64, height: f64, title: &str) -> Self {
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"sans-serif\" font-size=\"11\">\n<title>{}</title>",
            escaped(title)
        );
        let mut canvas = Self { svg };
        canvas.rect((0.0, 0.0), (width, height), "#ffffff", None);
        canvas
    }

    /// A box; what it says when it is pointed at.
    pub fn rect(&mut self, (x, y): Point, (width, height): Point, fill: &str, says: Option<&str>) {
        let head = format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"{fill}\""
        );
        let _ = match says {
            None => writeln!(self.svg, "{head}/>"),
            Some(says) => writeln!(self.svg, "{head}><title>{}</title></rect>", escaped(says)),
        };
    }

    /// A thin line.
    pub fn line(&mut self, (x1, y1): Point, (x2, y2): Point, stroke: &str) {
        let _ = writeln!(
            self.svg,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" \
             stroke=\"{stroke}\"/>"
        );
    }

    /// A curve through these places, in one piece each.
    pub fn curve(&mut self, pieces: &[Vec<Point>], stroke: &str) {
        let mut path = String::new();
        for piece in pieces {
            for (at, (x, y)) in piece.iter().enumerate() {
                let verb = if at == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{verb}{x:.1},{y:.1} ");
            }
            // A piece of one point is a dot: a line to where it stands, with a round end.
            if let [(x, y)] = piece[..] {
                let _ = write!(path, "L{x:.1},{y:.1} ");
            }
        }
        if !path.is_empty() {
            let _ = writeln!(
                self.svg,
                "<path d=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"1.5\" \
                 stroke-linecap=\"round\" stroke-linejoin=\"round\"/>",
                path.trim_end()
            );
        }
    }

    /// Words, in so many points.
    pub fn text(&mut self, (x, y): Point, anchor: Anchor, size: u32, fill: &str, words: &str) {
        let _ = writeln!(
            self.svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{}\" font-size=\"{size}\" \
             fill=\"{fill}\">{}</text>",
            anchor.word(),
            escaped(words)
        );
    }

    /// The whole file.
    pub fn end(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}
