package main
import ("testing";"encoding/json";"os";"fmt"
"github.com/sluiceproxy/sluice/config/module"
"github.com/sluiceproxy/sluice/handlers/standard"
"github.com/sluiceproxy/sluice/admin"
"github.com/sluiceproxy/sluice/schema")
func TestZ(t *testing.T){
 _ = admin.Routes
 specs:=append(standard.Specs(), admin.Spec())
 tb,err:=module.NewTable(specs, standard.Refused())
 if err!=nil{t.Fatal(err)}
 for _,id:=range tb.IDs(){ s,_:=tb.Spec(id); fmt.Println(id,"|",s.Summary,len(s.Examples),tb.ConfigType(id)) }
 d:=tb.Document("sluice.config","x",schema.Comments())
 b,_:=json.MarshalIndent(d,""," ")
 os.WriteFile("/tmp/gen1/schema.json",b,0o644)
 b,_=json.Marshal(d)
 fmt.Println(len(b))
}
