//! Normalizes the text of requests by the `(baton.text.v1.kind)` of the contract. The rules are in `baton-text`.

use std::fmt;

use baton_text::{Kind, Problem};
use prost_types::{Struct, Value, value};

use crate::codec::MAX_VIOLATIONS;

/// A message whose fields may have a kind of text. The build script implements it for all messages.
pub trait Normalize {
    /// Whether an RPC takes this message as its request. Responses are not normalized: they may contain data that was
    /// stored before a rule.
    const IS_REQUEST: bool = false;

    /// Normalizes the fields. `at` is the message's path in the request.
    fn normalize(&mut self, at: Path<'_>, found: &mut Problems) {
        let _ = (at, found);
    }
}

/// Normalizes a request, and returns its problems.
pub fn normalize<M: Normalize>(message: &mut M) -> Problems {
    let mut found = Problems::default();
    if M::IS_REQUEST {
        message.normalize(Path::default(), &mut found);
    }
    found
}

/// The problems in the text of a request, by field.
#[derive(Debug, Default)]
pub struct Problems {
    named: Vec<(String, Problem)>,
    total: usize,
}

impl Problems {
    /// Whether there are no problems.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The number of problems.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The first [`MAX_VIOLATIONS`] problems, with the path of each field.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Problem)> {
        self.named.iter().map(|(field, problem)| (field.as_str(), *problem))
    }

    /// Applies a rule to the value at path `at`.
    pub fn apply(&mut self, kind: Kind, value: &mut String, at: Path<'_>) {
        if let Err(problem) = kind.apply(value) {
            self.add(|| at.to_string(), problem);
        }
    }

    fn add(&mut self, field: impl FnOnce() -> String, problem: Problem) {
        self.total += 1;
        if self.named.len() < MAX_VIOLATIONS {
            self.named.push((field(), problem));
        }
    }

    /// Applies a rule to all strings of a JSON object, and rejects numbers that JSON does not have. Member names stay
    /// unchanged, because field masks refer to them; if the field has a rule, a name must be a line.
    pub fn apply_to_struct(&mut self, kind: Option<Kind>, object: &mut Struct, at: Path<'_>) {
        for (name, value) in &mut object.fields {
            let name_error = kind.and_then(|_| Kind::Line.apply(&mut name.clone()).err());
            let mut value_error = None;
            value_problem(kind, value, &mut value_error);
            match (name_error, value_error) {
                (Some(problem), _) => self.add(|| at.to_string(), problem),
                (None, Some(problem)) => self.add(|| format!("{at}.{name}"), problem),
                (None, None) => {}
            }
        }
    }
}

fn object_problem(kind: Option<Kind>, object: &mut Struct, first: &mut Option<Problem>) {
    for (name, value) in &mut object.fields {
        if kind.is_some() {
            *first = first.or(Kind::Line.apply(&mut name.clone()).err());
        }
        value_problem(kind, value, first);
    }
}

/// The protobuf decoder limits nesting to a hundred levels, which bounds the recursion.
fn value_problem(kind: Option<Kind>, value: &mut Value, first: &mut Option<Problem>) {
    match (&mut value.kind, kind) {
        (Some(value::Kind::NumberValue(number)), _) if !number.is_finite() => {
            *first = first.or(Some(Problem::NOT_A_NUMBER));
        }
        (Some(value::Kind::StringValue(text)), Some(kind)) => *first = first.or(kind.apply(text).err()),
        (Some(value::Kind::ListValue(list)), _) => {
            list.values.iter_mut().for_each(|value| value_problem(kind, value, first));
        }
        (Some(value::Kind::StructValue(object)), _) => object_problem(kind, object, first),
        _ => {}
    }
}

/// The path of a value in a request, such as `task.tags[2]`. It is formatted only when there is a problem.
#[derive(Debug, Clone, Copy, Default)]
pub struct Path<'a> {
    above: Option<&'a Path<'a>>,
    field: &'static str,
    index: Option<usize>,
}

impl<'a> Path<'a> {
    /// A field of the message at this path.
    pub fn field(&'a self, field: &'static str) -> Self {
        Self { above: Some(self), field, index: None }
    }

    /// An item of a repeated field of the message at this path.
    pub fn item(&'a self, field: &'static str, index: usize) -> Self {
        Self { above: Some(self), field, index: Some(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above.filter(|above| !above.field.is_empty()) {
            write!(f, "{above}.")?;
        }
        f.write_str(self.field)?;
        self.index.map_or(Ok(()), |index| write!(f, "[{index}]"))
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::{DynamicMessage, FieldDescriptor, Kind as FieldKind, MessageDescriptor};

    use super::*;
    use crate::{
        baton::{
            auth::v1::{LoginRequest, RegisterRequest, UpdateMeRequest, UserChange},
            task::v1::{CreateTaskRequest, TaskChange, UpdateTaskRequest, View},
        },
        convert::to_struct,
        pool,
    };

    fn found<M: Normalize>(message: &mut M) -> Vec<(String, String)> {
        let problems = normalize(message);
        problems.iter().map(|(field, problem)| (field.to_owned(), problem.to_string())).collect()
    }

    fn fields<M: Normalize>(message: &mut M) -> Vec<String> {
        found(message).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn text_of_requests_is_normalized() {
        let mut task = CreateTaskRequest {
            title: "  Cafe\u{301} ".to_owned(),
            description: "a\r\nb".to_owned(),
            tags: vec!["ﬁne".to_owned(), " ".to_owned()],
            custom_fields: Some(to_struct([("x".to_owned(), "e\u{301}".into())].into_iter().collect())),
            ..Default::default()
        };
        assert!(found(&mut task).is_empty());
        assert_eq!((&*task.title, &*task.description, &*task.tags[0], &*task.tags[1]), ("Café", "a\nb", "fine", ""));
        assert_eq!(task.custom_fields, Some(to_struct([("x".to_owned(), "é".into())].into_iter().collect())));
        let mut login = LoginRequest { email: " Ada@Example.ORG ".to_owned(), ..Default::default() };
        assert!(found(&mut login).is_empty());
        assert_eq!(login.email, "Ada@Example.ORG");
    }

    #[test]
    fn problem_names_the_path_of_its_field() {
        let change = TaskChange {
            title: "\u{200b}".to_owned(),
            tags: vec!["a".to_owned(), "b\u{1b}".to_owned()],
            custom_fields: Some(Struct {
                fields: [("cost".to_owned(), Value { kind: Some(value::Kind::NumberValue(f64::NAN)) })].into(),
            }),
            ..Default::default()
        };
        let mut request = UpdateTaskRequest { task: Some(change), ..Default::default() };
        assert_eq!(fields(&mut request), ["task.title", "task.tags[1]", "task.custom_fields.cost"]);
        let mut many = CreateTaskRequest { tags: vec!["\0".to_owned(); 1_000], ..Default::default() };
        let found = normalize(&mut many);
        assert_eq!((found.iter().count(), found.total()), (MAX_VIOLATIONS, 1_000));
    }

    #[test]
    fn responses_are_not_normalized() {
        let mut view = View { name: "\u{200b}".to_owned(), ..Default::default() };
        assert!(found(&mut view).is_empty());
        assert_eq!(view.name, "\u{200b}");
    }

    #[test]
    fn email_and_phone_are_checked() {
        let mut request = RegisterRequest { email: "john..doe@example.com".to_owned(), ..Default::default() };
        assert_eq!(fields(&mut request), ["email"]);
        let user = UserChange { mobile: "+49 (0)170 1234567".to_owned(), ..Default::default() };
        let mut request = UpdateMeRequest { user: Some(user), ..Default::default() };
        assert_eq!(fields(&mut request), ["user.mobile"]);
    }

    /// String fields without a kind of text: their own parser or a look-up checks them.
    const OPAQUE: &[&str] = &[
        // Auth normalizes passwords (RFC 8265), because it also needs the original bytes.
        "password",
        "current_password",
        "new_password",
        // Secrets that are compared, and values with a standard syntax.
        "token",
        "refresh_token",
        "mfa_token",
        "browser_token",
        "subject_token",
        "page_token",
        "code",
        "state",
        "iss",
        "error",
        "secret",
        "signature",
        "avatar_url",
        "logo_url",
        "redirect",
        "timezone",
        "recurrence_timezone",
        "recurrence_rule",
        "language",
        // Pieces of the assistant's text, which begin and end anywhere, and ids of its calls.
        "text",
        "call_id",
        "cursor",
        // Names from lists.
        "service",
        "audience",
        "provider",
        "scopes",
        "emoji",
        "handles",
        "clear",
    ];

    /// Whether `buf.validate` has this rule for the field's text, or for the items of a list of texts.
    fn is_validated(field: &FieldDescriptor, rule: &str) -> bool {
        let options = field.options();
        let rules = options.get_extension(&pool().get_extension_by_name("buf.validate.field").unwrap());
        let inner = |rules: &DynamicMessage, name: &str| {
            let field = rules.get_field_by_name(name)?;
            rules.has_field_by_name(name).then(|| field.as_message().cloned())?
        };
        let rules = rules.as_message().unwrap().clone();
        let rules = if field.is_list() {
            inner(&rules, "repeated").and_then(|list| inner(&list, "items"))
        } else {
            Some(rules)
        };
        rules.and_then(|rules| inner(&rules, "string")).is_some_and(|string| string.has_field_by_name(rule))
    }

    fn has_kind(field: &FieldDescriptor) -> bool {
        field.options().has_extension(&pool().get_extension_by_name("baton.text.v1.kind").unwrap())
    }

    fn check(message: &MessageDescriptor, seen: &mut Vec<String>, without: &mut Vec<String>) {
        if seen.contains(&message.full_name().to_owned()) || !message.package_name().starts_with("baton.") {
            return;
        }
        seen.push(message.full_name().to_owned());
        for field in message.fields() {
            match field.kind() {
                FieldKind::Message(inner) => check(&inner, seen, without),
                FieldKind::String => {
                    let known = is_validated(&field, "uuid")
                        || is_validated(&field, "pattern")
                        || OPAQUE.contains(&field.name());
                    if !has_kind(&field) && !known {
                        without.push(field.full_name().to_owned());
                    }
                    assert!(
                        !is_validated(&field, "email"),
                        "{}: addresses are validated by their kind",
                        field.full_name()
                    );
                }
                _ => {}
            }
        }
    }

    #[test]
    fn every_string_of_a_request_has_a_rule() {
        let (mut seen, mut without) = (Vec::new(), Vec::new());
        for service in pool().services() {
            for method in service.methods() {
                check(&method.input(), &mut seen, &mut without);
            }
        }
        assert!(seen.len() > 50);
        assert_eq!(without, Vec::<String>::new(), "give these a baton.text.v1.kind");
    }
}
