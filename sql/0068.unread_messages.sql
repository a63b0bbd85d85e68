-- count_unread: the other participant's messages after the reader's mark that are not deleted. Volatile, so that a statement
-- that waited for the conversation's lock counts what was committed meanwhile and what it wrote before.
create function count_unread(conversation uuid, reader uuid) returns bigint language plpgsql volatile as $$
begin
    return (
        select count(*) from conversation_participants p join messages m on m.conversation_id = p.conversation_id
        where p.conversation_id = conversation and p.user_id = reader and m.seq > p.last_read_seq
            and m.sender_id <> reader and m.deleted_at is null
    );
end $$;

-- Notifications that count, or show, messages which have been deleted or read since.
delete from notifications n
where n.type = 'NEW_MESSAGE' and not n.is_read and count_unread(n.conversation_id, n.user_id) = 0;

update notifications n set message_id = u.message_id,
    message = case when n.message_id = u.message_id then n.message else u.message end,
    metadata = n.metadata || jsonb_build_object('count', u.count)
from (
    select n.id, count(*) as count, (array_agg(m.id order by m.seq desc))[1] as message_id,
        (array_agg(coalesce(nullif(left(m.content, 200), ''), m.file_name) order by m.seq desc))[1] as message
    from notifications n
    join conversation_participants p on p.conversation_id = n.conversation_id and p.user_id = n.user_id
    join messages m on m.conversation_id = n.conversation_id and m.seq > p.last_read_seq
        and m.sender_id <> n.user_id and m.deleted_at is null
    where n.type = 'NEW_MESSAGE' and not n.is_read
    group by n.id
) u
where u.id = n.id and (n.message_id is distinct from u.message_id or (n.metadata->>'count')::bigint is distinct from u.count);
