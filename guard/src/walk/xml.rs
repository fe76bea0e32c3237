//! XML that libxml2 would parse. For some texts it needs the square of their
//! length, minutes for what one statement can compute, and no timeout, cancel or
//! terminate reaches it meanwhile. So only what stands in the statement itself,
//! which is short, may become XML; values that are XML already may be read.

use pg_query::protobuf::{Node, XmlExprOp};

use super::expression::{is_literal, is_plain};
use super::{Verdict, Walk};
use crate::functions::Class;
use crate::refusal::{Refusal, Rule};

/// Whether a call or an attribute of that name is a cast to XML.
pub(super) fn is_cast(name: &str) -> bool {
    name == "xml"
}

/// Whether a type is XML or an array of it.
pub(super) fn is_type(names: &[&str]) -> bool {
    matches!(names, ["xml" | "_xml"] | ["pg_catalog", "xml" | "_xml"])
}

/// XMLPARSE takes a text, IS DOCUMENT parses a value again.
pub(super) fn parsed(op: i32, args: &[Node]) -> Verdict {
    let (what, short) = match XmlExprOp::try_from(op) {
        Ok(XmlExprOp::IsXmlparse) => ("XMLPARSE", args.first().is_some_and(is_literal)),
        Ok(XmlExprOp::IsDocument) => ("IS DOCUMENT", args.iter().all(is_plain)),
        Ok(XmlExprOp::IsXmlserialize | XmlExprOp::Undefined) | Err(_) => return Err(super::unknown()),
        Ok(
            XmlExprOp::IsXmlconcat
            | XmlExprOp::IsXmlelement
            | XmlExprOp::IsXmlforest
            | XmlExprOp::IsXmlpi
            | XmlExprOp::IsXmlroot,
        ) => return Ok(()),
    };
    if short { Ok(()) } else { Err(refused(what)) }
}

impl Walk<'_> {
    /// `f.xml`, where `f` is a function in FROM, casts its value.
    pub(super) fn xml_rows_allowed(&self) -> Verdict {
        let calls = &self.functions_in_from;
        match self.xml_rows.iter().any(|row| row.is_empty() || calls.contains("") || calls.contains(row)) {
            true => Err(refused("attribute notation for a cast to xml")),
            false => Ok(()),
        }
    }
}

pub(super) fn refused(what: &str) -> Refusal {
    let does = Class::Xml.does();
    Refusal::new(Rule::TypeRefused, format!("{what} of what was computed is not allowed: it {does}"), Class::Xml.hint())
}
