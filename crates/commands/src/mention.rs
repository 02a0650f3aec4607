//! Which task a text means.

use crate::{
    words::{Word, edits, fold},
    world::{Found, KnownTask, World},
};

/// Words that say that a task is meant, or nothing.
const FILLER: [&str; 26] = [
    "the", "a", "an", "task", "tasks", "ticket", "item", "todo", "one", "my", "our", "his", "her", "their", "this",
    "that", "called", "titled", "named", "about", "on", "for", "with", "of", "existing", "card",
];
/// Words that stand for a task that was talked about.
const PRONOUNS: [&str; 4] = ["it", "that", "this", "them"];
/// Letters from which on a word may have a typo.
const TYPO_FROM: usize = 5;

/// Whether a title, as content words, is meant.
type Way<'a> = &'a dyn Fn(&[String]) -> bool;

/// Content words of a text, folded and without endings.
fn content(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|part| !part.is_empty());
    parts.map(fold).filter(|part| !FILLER.contains(&part.as_str())).map(|part| stem(&part)).collect()
}

/// A word without the endings that make no difference here.
fn stem(word: &str) -> String {
    let word = word.strip_suffix("'s").unwrap_or(word);
    for (ending, least) in
        [("ments", 4), ("ment", 4), ("ings", 4), ("ing", 4), ("ies", 3), ("ed", 4), ("es", 4), ("s", 3)]
    {
        if let Some(rest) = word.strip_suffix(ending).filter(|rest| rest.len() >= least && !rest.ends_with('s')) {
            return if ending == "ies" { format!("{rest}y") } else { rest.to_owned() };
        }
    }
    word.to_owned()
}

impl World {
    /// The task that these words name. `fits` are those that the command can be about, if several are named.
    pub(crate) fn task(&self, mention: &[&Word<'_>], fits: impl Fn(&KnownTask) -> bool) -> Found<&KnownTask> {
        let is_id = |task: &&KnownTask| {
            mention.iter().any(|word| task.id.eq_ignore_ascii_case(word.text.trim_start_matches('#')))
        };
        if let Some(task) = self.tasks.iter().find(is_id) {
            return Found::One(task);
        }
        if let [word] = mention
            && word.quoted
        {
            let title = fold(word.text);
            let exact = || self.tasks.iter().filter(|task| fold(&task.title) == title);
            match one(exact(), &fits) {
                Found::Nothing => {}
                found => return found,
            }
        }
        let spoken: Vec<&str> = mention.iter().map(|word| word.text).collect();
        let spoken = content(&spoken.join(" "));
        let pronoun = mention.iter().all(|word| word.is_any(&FILLER) || word.is_any(&PRONOUNS));
        if spoken.is_empty() || pronoun {
            return self.talked_about(&fits);
        }
        let titles: Vec<(Vec<String>, &KnownTask)> =
            self.tasks.iter().map(|task| (content(&task.title), task)).collect();
        let holds_all = |holder: &[String], held: &[String], same: &dyn Fn(&str, &str) -> bool| {
            !held.is_empty() && held.iter().all(|word| holder.iter().any(|other| same(word, other)))
        };
        let equal = |one: &str, other: &str| one == other;
        let alike = |one: &str, other: &str| one == other || one.len() >= TYPO_FROM && edits(one, other) <= 1;
        let ways: [Way<'_>; 4] = [
            &|title| title == spoken,
            &|title| holds_all(title, &spoken, &equal),
            &|title| title.len() > 1 && holds_all(&spoken, title, &equal),
            &|title| holds_all(title, &spoken, &alike),
        ];
        for way in ways {
            let found = one(titles.iter().filter(|(title, _)| way(title)).map(|(_, task)| *task), &fits);
            if found != Found::Nothing {
                return found;
            }
        }
        Found::Nothing
    }

    /// The task that was talked about last.
    fn talked_about(&self, fits: &impl Fn(&KnownTask) -> bool) -> Found<&KnownTask> {
        for text in self.history.iter().rev() {
            let said = content(text);
            let named = self.tasks.iter().filter(|task| {
                let title = content(&task.title);
                !title.is_empty() && title.iter().all(|word| said.contains(word))
            });
            match one(named, fits) {
                Found::Nothing => {}
                found => return found,
            }
            // A part of the title was said.
            let touched = self.tasks.iter().filter(|task| {
                let title = content(&task.title);
                let shared = title.iter().filter(|word| said.contains(word)).count();
                shared * 2 > title.len() || shared > 1
            });
            match one(touched, fits) {
                Found::Nothing => {}
                found => return found,
            }
        }
        Found::Nothing
    }
}

impl PartialEq for KnownTask {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// The only one of these tasks, or the only one that fits.
fn one<'a>(mut tasks: impl Iterator<Item = &'a KnownTask>, fits: &impl Fn(&KnownTask) -> bool) -> Found<&'a KnownTask> {
    let Some(first) = tasks.next() else { return Found::Nothing };
    let all: Vec<&KnownTask> = std::iter::once(first).chain(tasks).collect();
    if let [only] = all[..] {
        return Found::One(only);
    }
    let fitting: Vec<&KnownTask> = all.into_iter().filter(|task| fits(task)).collect();
    match fitting[..] {
        [only] => Found::One(only),
        _ => Found::Several,
    }
}
