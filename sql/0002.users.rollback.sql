drop table salons;
drop table influencers;
drop table users;
