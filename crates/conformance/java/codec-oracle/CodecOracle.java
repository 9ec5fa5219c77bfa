// Apache Kafka's own codec as an oracle: JSON to bytes, and our bytes to JSON.
//
// Reads lines `class TAB version TAB json TAB hex` from standard input, where `class` is the full name of a
// generated message class, and answers one line each:
//   ok TAB hex TAB json    the bytes of the given JSON, and the JSON of the given bytes
//   absent                 this Kafka does not have the class or the version
//   error TAB text         the JSON or the bytes were refused

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.lang.reflect.InvocationTargetException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;

public final class CodecOracle {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HexFormat HEX = HexFormat.of();

    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintWriter(new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8)));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.println(answer(line.split("\t", 4)));
        }
        out.flush();
    }

    private static String answer(String[] words) {
        try {
            Class<?> data = Class.forName(words[0]);
            Class<?> converter = Class.forName(words[0] + "JsonConverter");
            short version = Short.parseShort(words[1]);
            Message decoded = (Message) data.getDeclaredConstructor().newInstance();
            if (version < decoded.lowestSupportedVersion() || version > decoded.highestSupportedVersion()) {
                return "absent";
            }
            var message = (Message) converter.getMethod("read", JsonNode.class, short.class)
                .invoke(null, JSON.readTree(words[2]), version);
            ByteBuffer buffer = MessageUtil.toByteBufferAccessor(message, version).buffer();
            byte[] bytes = new byte[buffer.remaining()];
            buffer.get(bytes);
            var input = new ByteBufferAccessor(ByteBuffer.wrap(HEX.parseHex(words[3])));
            decoded.read(input, version);
            if (input.remaining() != 0) {
                return "error\t" + input.remaining() + " bytes left over";
            }
            var json = (JsonNode) converter.getMethod("write", data, short.class).invoke(null, decoded, version);
            return "ok\t" + HEX.formatHex(bytes) + "\t" + JSON.writeValueAsString(json);
        } catch (ClassNotFoundException absent) {
            return "absent";
        } catch (InvocationTargetException wrapped) {
            return "error\t" + oneLine(wrapped.getCause());
        } catch (Exception refused) {
            return "error\t" + oneLine(refused);
        }
    }

    private static String oneLine(Throwable error) {
        return error.toString().replaceAll("\\s+", " ");
    }
}
