"""What columns and tables are usually called."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = [
    "CONTEXT",
    "COUNTS",
    "EVENT_KIND",
    "FLAGS",
    "ITEM",
    "ITEM_TABLES",
    "KINDS",
    "PRICE",
    "PRIVATE",
    "RATING",
    "SHOWN",
    "STOCK",
    "TIME",
    "TOTALS",
    "UNDONE",
    "USER",
    "USER_TABLES",
    "has_word",
    "plain_name",
    "rank",
    "words_of",
]

# The likeliest first, in small letters without signs.
USER = (
    *("userid", "user", "customerid", "customer", "userpseudoid", "visitorid", "fullvisitorid", "memberid", "member"),
    *("reviewerid", "shopperid", "buyerid", "accountid", "subscriberid", "playerid", "profileid", "personid"),
    *("authorsteamid", "steamid", "userkey", "usersha1", "userhash", "uid", "clientid", "customernumber", "custid"),
    *("householdkey", "username", "reviewername", "email", "customeremail", "useremail", "deviceid", "cookieid"),
    *("custno", "customerno", "clientno", "memberno", "accountno", "userno", "clientnumber", "membernumber"),
    *("customerref", "customercode", "client", "clientref", "anonymousid", "sessionid", "session"),
)
ITEM = (
    *("itemid", "item", "productid", "movieid", "articleid", "asin", "parentasin", "bookid", "animeid", "songid"),
    *("trackid", "traid", "artistid", "artid", "artmbid", "gameid", "appid", "newsid", "contentid", "videoid"),
    *("listingid", "businessid", "recipeid", "hotelid", "restaurantid", "courseid", "jobid", "postid", "documentid"),
    *("offerid", "lineitemsku", "variantid", "sku", "skuid", "productsku", "stockcode", "isbn", "goodsid"),
    *("itemno", "itemnumber", "itemcode", "itemref", "productno", "productnumber", "productcode", "productref"),
    *("articleno", "articlenumber", "articlecode", "articleref", "bookno", "bookref", "titleid", "ean", "gtin"),
    *("product", "movie", "article", "book", "anime", "song", "track", "artist", "game", "app", "lineitemname"),
    *("itemname", "productname", "artname", "artistname", "traname", "trackname", "title"),
)
TIME = (
    *("timestamp", "eventtimestamp", "time", "eventtime", "ts", "at", "datetime", "createdat", "unixreviewtime"),
    *("timestampcreated", "occurredat", "tdat", "ratedat", "reviewtime", "dateadded", "dateupdated", "readat"),
    *("purchasedate", "orderdate", "invoicedate", "eventdate", "date", "paidat", "day", "processedat"),
    *("ordernumber", "position", "sequence"),
)
RATING = ("rating", "overall", "stars", "score", "rate", "reviewscore", "userrating", "bookrating", "ratingvalue")
EVENT_KIND = (
    *("event", "eventtype", "eventname", "action", "actiontype", "behavior", "behaviortype", "behaviour"),
    *("interaction", "interactiontype", "type", "kind", "activity"),
)
FLAGS = (
    *("click", "clicked", "isclick", "isclicked", "like", "liked", "islike", "recommended", "votedup", "favorite"),
    *("cart", "addtocart", "purchase", "purchased", "bought", "ispurchase", "converted", "conversion", "isread"),
    *("watched", "played", "label", "target"),
)
# Kinds of events, the strongest wish first; and those that were only shown, or that take something back.
KINDS = ("purchase", "transaction", "buy", "order", "cart", "fav", "like", "play", "click", "view")
SHOWN = ("impression", "shown", "show", "display", "exposure", "viewitemlist", "viewsearchresults")
UNDONE = ("remove", "dislike", "skip", "refund", "unlike", "cancel", "hide")
COUNTS = ("weight", "plays", "playcount", "count", "listencount", "hours", "playtimeforever", "quantity", "value")
PRICE = ("price", "amount", "total", "revenue", "cost", "lineitemprice", "itemprice")
STOCK = ("instock", "available", "isavailable", "stock", "active", "isactive", "enabled")
CONTEXT = (
    *("device", "platform", "browser", "os", "channel", "country", "region", "language", "locale", "hour", "dow"),
    *("weekday", "dayofweek", "pagetype", "placement", "medium", "store"),
)
# Sums over all time: what is popular, also in what was held out.
TOTALS = (
    *("ratingscount", "ratingcount", "numratings", "averagerating", "avgrating", "meanrating", "numreviews"),
    *("reviewcount", "reviewscount", "textreviewscount", "votecount", "voteaverage", "popularity", "members"),
    *("playcount", "listeners", "sales", "numsold", "views", "likes", "rank", "salesrank", "stars"),
)
PRIVATE = (
    *("email", "phone", "firstname", "lastname", "fullname", "name", "address", "street", "password", "birthdate"),
    *("ip", "latitude", "longitude", "company"),
)
ITEM_TABLES = (
    *("item", "items", "product", "products", "movie", "movies", "article", "articles", "book", "books", "catalog"),
    *("catalogue", "game", "games", "artist", "artists", "song", "songs", "track", "tracks", "anime", "meta"),
    *("metadata", "content", "news", "listings", "recipes", "businesses", "goods", "assortment", "videos", "courses"),
)
USER_TABLES = (
    *("user", "users", "customer", "customers", "member", "members", "profile", "profiles", "visitor", "visitors"),
    *("account", "accounts", "person", "persons", "people", "client", "clients", "buyer", "buyers", "shopper"),
    *("shoppers", "subscriber", "subscribers", "reader", "readers", "player", "players"),
)


def plain_name(name: str) -> str:
    """A name in small letters without signs: 'User ID', 'user_id' and 'userId' are one."""
    return re.sub(r"[^0-9a-z]", "", name.casefold())


def words_of(name: str) -> list[str]:
    """The words of a name in small letters: 'userId', 'user_id' and 'User ID' have two."""
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return re.findall(r"[a-z]+|[0-9]+", apart.lower())


def rank(name: str, known: Sequence[str]) -> int | None:
    """The place of a name among known ones: as a whole, else (after all of these) the last words of it."""
    plain = plain_name(name)
    if plain in known:
        return known.index(plain)
    words = words_of(name)
    ends = ["".join(words[start:]) for start in range(1, len(words))]
    places = [known.index(end) for end in ends if end in known]
    return len(known) + min(places) if places else None


def has_word(name: str, known: Sequence[str]) -> bool:
    """Whether a name is a known one, or holds one among its words."""
    return plain_name(name) in known or any(word in known for word in words_of(name))
