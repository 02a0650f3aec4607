-- Search finds parts of compounds, words whatever their accents, and scripts that put no spaces between words.
--
-- A text is folded the same way when it is stored and when it is looked for (`search_words`). Its words are kept twice:
-- as the account's language stems them, and as they stand, with their positions. So "dev-east" is `dev` followed by
-- `east`, wherever both stand side by side. Of scripts without spaces every two neighbouring characters are a word, so that a
-- phrase of them is a substring.

do $body$
declare
    -- Characters that join or direct others and show nothing.
    invisible text := '\u00ad\u034f\u061c\u0640\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef';
    -- Accents and points. Signs that are letters of their own (Thai, Devanagari, kana) are not among them.
    marks text := '\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f';
    separators text := '\u0001-/:-@\[-`{-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7\u037e\u0387\u055a-\u055f\u0589\u058a\u05be\u05c0\u05c3\u05f3\u05f4\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\u1680\u2000-\u206f\u20a0-\u20cf\u2190-\u25ff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\u303d\u30fb\ufffc-\uffff';
    -- Thai, Lao, Tibetan, Burmese, Khmer, Hangul, kana, Han and their like, and pictures. Hangul has spaces, but its words take
    -- on endings and other words.
    unspaced text := '\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u19e0-\u19ff\u1a20-\u1aaf\u2600-\u27bf\u2b00-\u2bff\u2e80-\u2fdf\u3005-\u3007\u3021-\u302f\u3031-\u303c\u3041-\u30fa\u30fc-\u318f\u31a0-\u31ff\u3200-\ua4cf\ua960-\ua97f\ua9e0-\ua9ff\uaa60-\uaadf\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U0001f000-\U0001faff\U00020000-\U0003ffff';
    -- Where a word in one piece has parts: fooBar, HTTPServer, v2, 4711a.
    small text := 'a-z\u00df-\u00ff\u03b1-\u03c9\u0430-\u045f';
    large text := 'A-Z\u00c0-\u00de\u0391-\u03a9\u0400-\u042f';
    parts text := '(?<=[SMALL])(?=[LARGE])|(?<=[LARGE])(?=[LARGE][SMALL])|(?<=[0-9])(?=[SMALLLARGE])|(?<=[SMALLLARGE])(?=[0-9])';
    -- The case of letters goes by Unicode, whatever the language of the database is.
    home text := case when lower('Ж') <> 'ж' and exists (select from pg_collation where collname = 'und-x-icu')
        then ' collate pg_catalog."und-x-icu"' else '' end;
    function text;
begin
    parts := replace(replace(parts, 'SMALL', small), 'LARGE', large);
    foreach function in array array[
$function$
-- The words of a text, with a space between each two and '|' between the parts of one. `immutable`, and the only way from a
-- text to its words.
create function search_words(given text) returns text language plpgsql immutable parallel safe as $$
declare
    x text := given;
begin
    if octet_length(x) = char_length(x) then
        x := regexp_replace(x, '[^A-Za-z0-9]+', ' ', 'g');
        if x ~ '[a-z][A-Z]|[A-Z][A-Z][a-z]|[A-Za-z][0-9]|[0-9][A-Za-z]' then
            x := regexp_replace(x, '(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])', '|', 'g');
        end if;
        return btrim(lower(x));
    end if;
    x := normalize(regexp_replace(x, '[INVISIBLE]+', '', 'g'), NFKD);
    -- Of Cyrillic this is a letter of its own.
    x := replace(replace(x, U&'\0438\0306', U&'\0439'), U&'\0418\0306', U&'\0419');
    x := normalize(regexp_replace(x, '[MARKS]+', '', 'g'), NFC);
    x := regexp_replace(x, '[SEPARATORS]+', ' ', 'g');
    x := translate(x, 'øØđĐðÐħĦıłŁŧŦς', 'oOdDdDhHilLtTσ');
    if x ~ '[ßẞæÆœŒþÞ]' then
        x := replace(replace(replace(replace(x, 'ß', 'ss'), 'ẞ', 'SS'), 'þ', 'th'), 'Þ', 'Th');
        x := replace(replace(replace(replace(x, 'æ', 'ae'), 'Æ', 'Ae'), 'œ', 'oe'), 'Œ', 'Oe');
    end if;
    x := regexp_replace(x, 'PARTS', '|', 'g');
    if x ~ '[UNSPACED]' then
        x := regexp_replace(x, '[UNSPACED]+', ' \& ', 'g');
    end if;
    return btrim(regexp_replace(regexp_replace(lower(xHOME), '\|* [ |]*', ' ', 'g'), '^\|+|\|+$', '', 'g'));
end $$
$function$,
$function$
-- Words as they stand, with their positions. A run without spaces is every two neighbours of it, and its last character.
create function search_lexemes(words text) returns tsvector language plpgsql immutable parallel safe as $$
declare
    word text;
    pieces text[] := '{}';
    place integer := 0;
    size integer;
begin
    if words !~ '[UNSPACED]' then
        return coalesce((select string_agg('''' || w || ''':' || least(n, 16383), ' ')::tsvector
                         from unnest(string_to_array(words, ' ')) with ordinality u (w, n)
                         where w <> '' and octet_length(w) <= 2000), '');
    end if;
    foreach word in array string_to_array(words, ' ') loop
        if word ~ '^[UNSPACED]' then
            size := char_length(word);
            pieces := pieces || (
                select string_agg('''' || c || coalesce(next, '') || ''':'
                                  || least(place + case when next is null then greatest(size - 1, 1) else n end, 16383), ' ')
                from (select c, n, lead(c) over (order by n) as next
                      from unnest(string_to_array(word, null)) with ordinality u (c, n)) pairs
            );
            place := place + greatest(size - 1, 1);
        elsif word <> '' and octet_length(word) <= 2000 then
            place := place + 1;
            pieces := pieces || ('''' || word || ''':' || least(place, 16383));
        end if;
    end loop;
    return array_to_string(pieces, ' ')::tsvector;
end $$
$function$,
$function$
-- These words side by side, as they stand; with `open`, the last may go on.
create function search_phrase(words text, open boolean) returns tsquery language plpgsql immutable parallel safe as $$
declare
    word text;
    pieces text[] := '{}';
    is_run boolean := false;
begin
    foreach word in array string_to_array(words, ' ') loop
        is_run := word ~ '^[UNSPACED]';
        if is_run and char_length(word) > 1 then
            pieces := pieces || array(
                select '''' || c || next || '''' from (
                    select c, n, lead(c) over (order by n) as next
                    from unnest(string_to_array(word, null)) with ordinality u (c, n)
                ) pairs where next is not null order by n
            );
        elsif word <> '' and octet_length(word) <= 2000 then
            -- One character is the first of two, or the last of all.
            pieces := pieces || ('''' || word || '''' || case when is_run then ':*' else '' end);
        end if;
    end loop;
    return (array_to_string(pieces, ' <-> ') || case when open and not is_run and pieces <> '{}' then ':*' else '' end)::tsquery;
end $$
$function$,
$function$
-- Those words that a language can stem.
create function search_spaced(words text) returns text language sql immutable parallel safe as $$
    select case when words ~ '[UNSPACED]' then regexp_replace(words, '[UNSPACED]+', ' ', 'g') else words end
$$
$function$,
$function$
-- The words of a text with their accents, as some languages need them to find a stem.
create function search_accented(given text) returns text language sql immutable parallel safe as $$
    select btrim(regexp_replace(lower(normalize(given, NFKC)HOME), '[INVISIBLESEPARATORSUNSPACED]+', ' ', 'g'))
$$
$function$
    ] loop
        function := replace(replace(function, 'INVISIBLE', invisible), 'MARKS', marks);
        function := replace(replace(function, 'SEPARATORS', separators), 'UNSPACED', unspaced);
        execute replace(replace(function, 'PARTS', parts), 'HOME', home);
    end loop;
end $body$;

-- What is kept of a text. `plain` prose is not kept as it stands as well, which would make it twice as large: it is found by
-- its stems. What is not side by side has a gap between it, in which the word '|' stands; that is for the caller to take
-- out. Words of ASCII are what Postgres' parser makes of them; it need not be asked about others.
create function search_text(config regconfig, given text, plain boolean) returns tsvector language plpgsql immutable as $$
declare
    is_ascii boolean := octet_length(given) = char_length(given);
    gap constant tsvector := '''|'':9';
    words text;
    parts text;
    spaced text;
    accented text;
    document tsvector;
begin
    if given = '' then
        return '';
    end if;
    if is_ascii and given !~ '[^A-Za-z0-9\s][A-Za-z0-9]|[^A-Za-z0-9\s]{2}|[a-z][A-Z]|[A-Z][A-Z][a-z]|[A-Za-z][0-9]|[0-9][A-Za-z]' then
        document := to_tsvector(config, given);
        return case when plain then document else document || gap || to_tsvector('pg_catalog.simple', given) end;
    end if;
    words := task.search_words(given);
    parts := replace(words, '|', ' ');
    if is_ascii then
        document := to_tsvector(config, parts) || gap || to_tsvector('pg_catalog.simple', parts);
        if parts <> words then
            document := document || gap || to_tsvector('pg_catalog.simple', replace(words, '|', ''));
        end if;
        return document;
    end if;
    spaced := task.search_spaced(parts);
    document := to_tsvector(config, spaced) || gap || task.search_lexemes(parts);
    if parts <> words then
        document := document || gap || task.search_lexemes(replace(words, '|', ''));
    end if;
    accented := task.search_accented(given);
    if accented <> spaced then
        document := document || gap || to_tsvector(config, accented);
    end if;
    return document;
end $$;

create or replace function search_document(config regconfig, title text, tags text[], description text) returns tsvector
language plpgsql stable as $$
declare
    gap constant tsvector := '''|'':9';
    document tsvector := setweight(task.search_text(config, title, false), 'A');
begin
    if tags <> '{}' then
        document := document || gap || setweight(task.search_text(config, array_to_string(tags, ' '), false), 'B');
    end if;
    if description <> '' then
        document := document || gap || setweight(task.search_text(config, description, true), 'C');
    end if;
    return ts_delete(document, '|');
end $$;

-- What a comment adds to a document.
create function search_comment(config regconfig, body text) returns tsvector language plpgsql immutable as $$
declare
    gap constant tsvector := '''|'':9';
begin
    return ts_delete(gap || setweight(task.search_text(config, body, true), 'D'), '|');
end $$;

-- Comments of a task, the newest first, as far as there is room: a document has its limits.
create or replace function search_comments(config regconfig, account uuid, task uuid) returns tsvector language plpgsql stable as $$
declare
    bodies text := (select left(string_agg(body, E'\n'), 50000)
                    from (select body from task.comments where account_id = account and task_id = task and body <> ''
                          order by id desc limit 200) newest);
begin
    return task.search_comment(config, coalesce(bodies, ''));
end $$;

-- All of a task. What Postgres finds too long for a document is left out: comments first.
create function search_whole(config regconfig, account uuid, task uuid, title text, tags text[], description text)
returns tsvector language plpgsql stable as $$
declare
    document tsvector := task.search_document(config, title, tags, description);
begin
    return document || task.search_comments(config, account, task);
exception when program_limit_exceeded then
    return document;
end $$;

-- Title and tags as one line, for words that are spelled alike.
create function search_line(title text, tags text[]) returns text language plpgsql stable as $$
declare
    line text := title || ' ' || array_to_string(tags, ' ');
begin
    return case when octet_length(line) = char_length(line) then lower(line) else replace(task.search_words(line), '|', '') end;
end $$;

create or replace function keep_search() returns trigger language plpgsql as $$
declare
    config regconfig := task.search_config(new.account_id);
    seers bigint[] := task.search_audience(new.created_by, new.assigned_to, false) || case new.visibility
        when 'account' then array[0::bigint]
        when 'team' then task.search_audience(new.created_by, new.assigned_to, true)
        else '{}' end;
begin
    if tg_op = 'UPDATE' and new.title = old.title and new.description = old.description and new.tags = old.tags then
        update task.task_search set audience = seers
        where account_id = new.account_id and month = task.search_month(new.created_at) and task_id = new.id;
        return null;
    end if;
    insert into task.task_search as s (account_id, month, task_id, audience, document, words)
    values (new.account_id, task.search_month(new.created_at), new.id, seers,
            case when tg_op = 'INSERT' then task.search_document(config, new.title, new.tags, new.description)
                 else task.search_whole(config, new.account_id, new.id, new.title, new.tags, new.description) end,
            task.search_line(new.title, new.tags))
    on conflict (account_id, month, task_id) do update
        set audience = excluded.audience, document = excluded.document, words = excluded.words;
    return null;
end $$;

create or replace function keep_comment_search() returns trigger language plpgsql as $$
declare
    account uuid := coalesce(new.account_id, old.account_id);
    task uuid := coalesce(new.task_id, old.task_id);
    config regconfig := task.search_config(account);
begin
    -- What Postgres finds too long for a document is not looked through; the comment itself is kept.
    update task.task_search s set document = case
        when tg_op = 'INSERT' and length(s.document) < 5000
            then s.document || task.search_comment(config, new.body)
        else task.search_whole(config, account, task, t.title, t.tags, t.description)
        end
    from task.tasks t
    where t.account_id = account and t.id = task
      and s.account_id = account and s.month = task.search_month(t.created_at) and s.task_id = task;
    return null;
exception when program_limit_exceeded then
    return null;
end $$;

-- These words side by side as the language stems them; with `open`, the last may go on. Null when it looks for none of them.
create function search_stems(config regconfig, words text, open boolean) returns tsquery language plpgsql immutable as $$
declare
    stems tsquery;
begin
    if words = '' then
        return null;
    end if;
    stems := to_tsquery(config, '''' || replace(words, ' ', ''' <-> ''') || '''' || case when open then ':*' else '' end);
    return case when numnode(stems) > 0 then stems end;
end $$;

-- One term of what somebody typed: a word, a compound or a quoted phrase, in any form that is kept; null without a word.
-- `stop` says that it is a word which the language does not look for.
create function search_term(config regconfig, term text, open boolean, out query tsquery, out stop boolean)
language plpgsql immutable as $$
declare
    words text := task.search_words(term);
    parts text := replace(words, '|', ' ');
    whole text := replace(words, '|', '');
    last text := substring(parts from '[^ ]*$');
    stem text;
begin
    stop := false;
    if words = '' then
        return;
    end if;
    if task.search_spaced(parts) <> parts then
        query := task.search_phrase(parts, open);
        return;
    end if;
    -- Whatever has the words has their stems; but not the stem of a word that is not typed to its end.
    query := task.search_stems(config, parts, open);
    stem := (tsvector_to_array(to_tsvector(config, last)))[1];
    if query is null or open and not coalesce(starts_with(last, stem), false) then
        stop := query is null and strpos(parts, ' ') = 0;
        query := coalesce(query || task.search_phrase(parts, open), task.search_phrase(parts, open));
    end if;
    if parts <> words then
        query := query || task.search_phrase(whole, open);
        query := coalesce(query || task.search_stems(config, whole, false), query);
    end if;
    if octet_length(term) <> char_length(term) and task.search_accented(term) <> parts then
        query := coalesce(query || task.search_stems(config, task.search_accented(term), open), query);
    end if;
end $$;

-- All terms: each of one alternative must be there, or must not where it is `negated`; any alternative will do. Stop words
-- count when there is nothing else. Null when there is nothing to look for.
create function search_terms(config regconfig, terms text[], alternatives integer[], negated boolean[], open boolean)
returns tsquery language plpgsql immutable as $$
declare
    found tsquery[] := '{}';
    stops boolean[] := '{}';
    whole tsquery;
    part tsquery;
    one record;
    term tsquery;
begin
    for n in 1 .. cardinality(terms) loop
        one := task.search_term(config, terms[n], open and n = cardinality(terms));
        found := found || one.query;
        stops := stops || (one.stop or one.query is null);
    end loop;
    for n in 1 .. cardinality(terms) loop
        if n > 1 and alternatives[n] <> alternatives[n - 1] then
            whole := coalesce(whole || part, part, whole);
            part := null;
        end if;
        continue when found[n] is null or stops[n] and (negated[n] or not true = all (stops));
        term := case when negated[n] then !! found[n] else found[n] end;
        part := coalesce(part && term, term);
    end loop;
    return coalesce(whole || part, part, whole);
end $$;

-- As `search_tasks`, for terms.
create function search_terms_in_tasks(terms text[], alternatives integer[], negated boolean[], open boolean,
                                      own uuid[], close uuid[], most integer)
returns table (id uuid, score real) language plpgsql stable security definer rows 1000
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan set client_min_messages = warning as $$
declare
    account uuid := nullif(current_setting('baton.account_id', true), '')::uuid;
    query tsquery := task.search_terms(task.search_config(account), terms, alternatives, negated, open);
    seers bigint[] := case when own is not null
        then task.search_audience(own, false) || task.search_audience(close, true) || 0::bigint end;
    slice integer := (select max(s.month) from task.task_search s where s.account_id = account);
    found integer;
begin
    if query is null then
        return;
    end if;
    while slice is not null and most > 0 loop
        if seers is null then
            return query select s.task_id, ts_rank_cd(s.document, query, 1) from task.task_search s
                where s.account_id = account and s.month = slice and s.document @@ query limit most;
        else
            return query select s.task_id, ts_rank_cd(s.document, query, 1) from task.task_search s
                where s.account_id = account and s.month = slice and s.document @@ query and s.audience && seers limit most;
        end if;
        get diagnostics found = row_count;
        most := most - found;
        slice := (select max(s.month) from task.task_search s where s.account_id = account and s.month < slice);
    end loop;
end $$;

-- As before, for words that are folded.
do $$
declare
    home text := (select format('%I', n.nspname) from pg_extension e
                  join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_trgm');
begin
    execute replace($function$
create or replace function search_alike(typed text, own uuid[], close uuid[], most integer)
returns table (id uuid, score real) language plpgsql stable security definer rows 1000
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan set enable_indexscan = off
set pg_trgm.word_similarity_threshold = 0.5 as $body$
declare
    account uuid := nullif(current_setting('baton.account_id', true), '')::uuid;
    line text := task.search_line(typed, '{}');
    seers bigint[] := case when own is not null
        then task.search_audience(own, false) || task.search_audience(close, true) || 0::bigint end;
    alike text;
begin
    foreach alike in array array['0.7', '0.6', '0.5'] loop
        perform set_config('pg_trgm.word_similarity_threshold', alike, true);
        return query select s.task_id, HOME.word_similarity(line, s.words) from task.task_search s
            where s.account_id = account and line operator(HOME.<%) s.words
              and (seers is null or s.audience && seers) limit most;
        exit when found;
    end loop;
end $body$ $function$, 'HOME', home);
end $$;

-- This one reads rows that no policy guards: nobody but the service calls it.
do $$
begin
    revoke execute on function search_terms_in_tasks(text[], integer[], boolean[], boolean, uuid[], uuid[], integer) from public;
    execute format('grant execute on function search_terms_in_tasks(text[], integer[], boolean[], boolean, uuid[], uuid[], integer) to %I',
                   'baton_' || current_schema);
end $$;

-- Those that are there are read anew by the job that a new language causes, some hundreds at a time. Until then they are
-- found as before.
insert into jobs (id, kind, payload)
select gen_random_uuid(), 'search.reindex', to_jsonb(account_id)
from (select distinct account_id from task_search) accounts;
