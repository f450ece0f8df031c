# A node made by tests/servers in the place of the vendor's image: same port, same data folder, same user number.
ARG BASE
FROM ${BASE}
RUN useradd --uid 1000 --no-create-home elasticsearch \
    && install -d -o elasticsearch /usr/share/elasticsearch/data /opt/native \
    && ln -s /usr/lib/*/libzstd.so.1 /opt/native/libzstd.so
COPY java /opt/java
COPY server /opt/server
USER 1000
STOPSIGNAL SIGTERM
CMD ["/opt/java/bin/java", "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", \
     "--enable-native-access=ALL-UNNAMED", "-Des.nativelibs.path=/opt/native", \
     "-Dorg.elasticsearch.nativeaccess.enableVectorLibrary=false", \
     "-cp", "/opt/server/main:/opt/server/lib/*", "ElasticsearchServer", "/opt/server/home", \
     "http.host=0.0.0.0", "http.port=9200", "path.data=/usr/share/elasticsearch/data", "path.logs=/tmp/logs"]
