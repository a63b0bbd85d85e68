-- iso: return a time as clients receive it, in UTC with milliseconds and Z.
create function iso(moment timestamptz) returns text
    language sql immutable parallel safe strict
    return to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

-- new_id: return the id of a new row.
create function new_id() returns uuid language sql volatile return gen_random_uuid();

-- fold: return a text as searches compare it. Width, letter case, ligatures and composition make no difference. The result
-- does not depend on the locale of the database, as lower() does: each letter is decomposed, so that lower() of ASCII serves
-- most letters; the others are translated by the case folding of Unicode; then the text is composed again. For Latin,
-- Greek, Cyrillic and Armenian letters it equals Python's normalize("NFKC", normalize("NFKD", text).casefold()).
create function fold(text) returns text
    language plpgsql immutable parallel safe strict as $$
declare
    folded text := lower(normalize($1, NFKD) collate "C");
begin
    -- The translation is long; Japanese and English texts need none.
    if folded collate "C" ~ '[\u00C6-\u02FF\u0345\u0370-\u058F\u1E9E-\u1EFE\u2132\u2183]' then
        folded := replace(replace(replace(folded, 'ß', 'ss'), 'ẞ', 'ss'), chr(837), 'ι'); -- the iota below a letter
        folded := translate(folded,
            'ÆÐØÞĐĦŁŊŒŦƁƂƄƆƇƉƊƋƎƏƐƑƓƔƖƗƘƜƝƟƢƤƦƧƩƬƮƱƲƳƵƷƸƼǤǶǷȜȠȢȤȺȻȽȾɁɃɄɅɆɈɊɌɎͰͲͶͿΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧ'
            'ΨΩςϏϘϚϜϞϠϢϤϦϨϪϬϮϷϺϽϾϿЂЄЅІЈЉЊЋЏАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯѠѢѤѦѨѪѬѮѰѲѴѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢ'
            'ҤҦҨҪҬҮҰҲҴҶҸҺҼҾӀӃӅӇӉӋӍӔӘӠӨӶӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕ'
            'ՖỺỼỾℲↃ',
            'æðøþđħłŋœŧɓƃƅɔƈɖɗƌǝəɛƒɠɣɩɨƙɯɲɵƣƥʀƨʃƭʈʊʋƴƶʒƹƽǥƕƿȝƞȣȥⱥȼƚⱦɂƀʉʌɇɉɋɍɏͱͳͷϳαβγδεζηθικλμνξοπρστυφχ'
            'ψωσϗϙϛϝϟϡϣϥϧϩϫϭϯϸϻͻͼͽђєѕіјљњћџабвгдежзиклмнопрстуфхцчшщъыьэюяѡѣѥѧѩѫѭѯѱѳѵѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡң'
            'ҥҧҩҫҭүұҳҵҷҹһҽҿӏӄӆӈӊӌӎӕәӡөӷӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօ'
            'ֆỻỽỿⅎↄ');
    end if;
    return normalize(folded, NFKC);
end $$;

-- grams: return the characters and the pairs of neighbours of a text, with duplicates. Trigrams cannot serve one or two
-- characters, or scripts whose characters are no letters in the locale of the database. Characters and pairs can.
create function grams(text) returns text[]
    language sql immutable parallel safe strict
    return string_to_array($1, null)
        || array(select a || b from unnest(string_to_array($1, null), string_to_array(substr($1, 2), null)) as pair(a, b)
            where b is not null);

-- search_grams: return the grams that a text must have to contain the pattern; 20 are enough to be selective.
create function search_grams(pattern text) returns text[]
    language sql immutable parallel safe strict
    return case when length(pattern) < 2 then grams(pattern)
        else array(select distinct gram from unnest(grams(left(pattern, 21))) gram where length(gram) = 2) end;
