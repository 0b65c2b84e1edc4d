"""What tells a place by its name: the one list. `edge_delta.core.place_values` has the forms of values.

A name or a value that looks like a place is a suspicion, not a proof: it is the owner who says that a column is
harmless. So both lists rather take too much for a place than too little.
"""

from __future__ import annotations

import itertools
import re
from functools import cache

NODE = "node_id"
"""The note of a commit that says whose draw it is: those of other devices in a shared table are none of its places."""
LATITUDE_NAMES = ("latitude", "lat", "gps_latitude", "gps_lat")
LONGITUDE_NAMES = ("longitude", "lon", "lng", "long", "gps_longitude", "gps_lon", "gps_lng")

_WORDS = frozenset(
    """
    lat lats latitude latitud latitudine breite breitengrad lon lons lng long longitude longitud longitudine
    laenge länge laengengrad längengrad latlon latlng lonlat lnglat latlong xy gps gnss glonass geo coord coords
    coordinate coordinates koordinaten position positions pos posx posy loc location locations locality place
    ort standort lieu wkt wkb ewkt ewkb geom geometry geography shape point geojson geohash geohashes ghash gh
    h3 h3index s2 s2cell s2id quadkey quadtile tile tileid mgrs usng utm utmx utmy zone easting northing
    eastings northings osgb gridref gridsquare maidenhead locator qth olc pluscode opencode w3w what3words
    address addr street strasse straße road city town village suburb borough district county state province
    region country municipality postcode postal zip zipcode plz cep pincode site venue building premises track
    trace route waypoint waypoints path trajectory polyline home origin destination altitude alt elevation ele
    height_asl nmea gga gpgga gngga rmc gprmc gnrmc gll fix bssid ssid ap wifi cellid lac tac mcc mnc eci enodeb
    cgi towerid ip ipaddr ipaddress ipv4 ipv6 hostaddr beacon ibeacon uwb anchor where whereabouts parcel
    cadastre gemeinde landkreis ortschaft adresse postleitzahl strassenname hausnummer standortname aufstellort
    einsatzort stadt ubicacion ubicación direccion dirección ciudad calle provincia emplacement ville rue commune
    localisation localización localizacion indirizzo posizione città citta comune via altitud altitude hoehe höhe
    широта долгота координаты адрес местоположение enlem boylam konum enlemi boylami szerokosc szerokość dlugosc długość
    sirka šířka delka délka leveysaste pituusaste leveys sijainti breddgrad lengdegrad lengde position plats
    hoehengrad höhengrad geofence gridreference maplink mapurl adres plaats miasto adresu rechtswert hochwert
    """.split()  # noqa: SIM905 - so many names read better as a text
)
_JOINED = frozenset({"pluscode", "opencode", "cellid", "towerid", "zipcode", "gridref", "tileid", "openlocation"})
_GLUED = (
    r"緯度|経度|纬度|经度|座標|坐标|位置|住所|地址|위도|경도|좌표|위치|주소|γεωγραφικό|خط العرض|خط الطول|"
    r"latitud|longitud|geohash|geoloc|geopos|coord|gps|gnss|postcode|postal|zipcode|location|position|address|pluscode|"
    r"strasse|straße|ortschaft|adress|ubicaci|direcci|localis|localiz|posizion|indirizz|geofence|gridref|"
    r"easting|northing|bssid|mgrs|nmea|what3words|breitengrad|ngengrad|(lat|lon|lng)$|"
    r"^(lat|lon|lng|long)_?(deg|rad|dec|dms|min|sec|raw|val|value|wgs|e|ns|ew|dd|int|micro|e[567])($|_)"
)
_NO_PLACE = frozenset({"original_timezone", "status_code", "source_generation", "state_of_charge"})
_BORDERS = r"(?<=[a-zà-ÿ0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"


@cache
def tells_by_name(name: str) -> bool:
    """Whether a column, or a key in a JSON text, may hold a place, going by its name in any case.

    ``deviceLat``, ``lat1``, ``latE7``, ``GEOHASH_7`` and ``plus_code`` do, ``latency`` and ``flag`` do not.
    """
    if name.lower() in _NO_PLACE:
        return False
    parts = [part for part in re.split(r"[\W_]+", re.sub(_BORDERS, "_", name).lower()) if part]
    plain = [part.rstrip("0123456789") or part for part in parts]
    if parts in (["x"], ["y"]) or (len(plain) == 1 and plain[0] in ("x", "y") and len(parts[0]) <= 2):  # noqa: PLR2004
        return True
    if any(part in _WORDS for part in (*parts, *plain, "".join(parts))):
        return True
    joined = (a + b for a, b in itertools.pairwise(plain))
    return any(pair in _JOINED for pair in joined) or bool(re.search(_GLUED, "_".join(plain)))
